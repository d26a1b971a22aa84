import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mal_tf.training.progress import Progress


@pytest.mark.parametrize(("examples", "steps"), [(1000, [*range(2, 101, 2)]), (25, [1, 2, 3])])
def test_a_training_of_seconds_has_a_curve(tmp_path, examples, steps):
    progress = Progress("mal", examples, batch_size=10, step=0, directory=str(tmp_path), every=3600)
    progress.on_train_begin()
    for batch in range(-(-examples // 10)):
        progress.on_train_batch_end(batch, {"loss_last": 1 / (batch + 1), "loss": 9.0})
    progress.on_train_end({"loss_last": 0.01})
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert sorted(events.Tags()["tensors"]) == ["examples_per_second", "loss_last"]
    assert sorted({event.step for event in events.Tensors("loss_last")}) == steps
