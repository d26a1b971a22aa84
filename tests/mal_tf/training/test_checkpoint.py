"""Trainings that are really killed end with the weights of one that was not."""

import logging
import signal
import tempfile

import numpy as np
import pytest

from features.errors import Interrupted, MalTfError
from features.keras2 import tf
from mal_tf.training.cluster import Cluster
from mal_tf.training.progress import Progress
from tests.mal_tf.training import small

#: Every key that makes a step depend on anything but its batch: Adam's step, PCGrad's order, warm-up.
CONFIG = {"gradients": "pcgrad", "warmup_share": 0.5, "checkpoint": {"every_steps": 3}}


def same(found, expected):
    for a, b in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(a, b)
    times = ("seconds", "examples_per_second")
    assert {k: v for k, v in found[1].items() if k not in times} == {
        k: v for k, v in expected[1].items() if k not in times
    }


def killed(split, directory, model, config, deadly):
    running = small.process(split, directory, model, config, deadly)
    running.start()
    running.join()
    assert running.exitcode == -signal.SIGKILL


def test_killed_twice_it_ends_as_if_it_had_not_been(tmp_path):
    split = small.write(tmp_path)
    arguments = (split, tmp_path / "killed", "shared_bottom", CONFIG)
    killed(*arguments, ("step", 7))
    killed(*arguments, ("save", 12, 0.002))
    same(small.finished(*arguments), small.finished(split, tmp_path / "whole", "shared_bottom", CONFIG))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("model", "more"), [("home", {}), ("mal", {"embedding_optimizer": "clippy_adagrad"})])
def test_killed_at_random_until_it_ends(tmp_path, model, more, seed):
    generator = np.random.default_rng(seed)
    split, config = small.write(tmp_path), CONFIG | more | {"checkpoint": {"every_steps": 2}}
    arguments = (split, tmp_path / "killed", model, config)
    for step in np.sort(generator.choice(np.arange(1, 20), 4, replace=False)):
        moment = (
            ("step", int(step)) if generator.random() < 0.5 else ("save", int(step) // 2 * 2, generator.random() / 20)
        )
        running = small.process(*arguments, moment)
        running.start()
        running.join()
        assert running.exitcode in (-signal.SIGKILL, 0)  # Where there is nothing to save, it gets to the end.
    same(small.finished(*arguments), small.finished(split, tmp_path / "whole", model, config))


def test_sigterm_saves_and_the_next_process_goes_on(tmp_path, monkeypatch, caplog):
    split, config = small.write(tmp_path), {"checkpoint": {"every_seconds": 1e9}}
    expected = small.train(split, tmp_path / "whole", "base", config)
    ended = Progress.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        ended(self, batch, logs)
        if batch == 8:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(Interrupted, match="after step 10; a checkpoint was saved"):
        patched.setattr(Progress, "on_train_batch_end", on_train_batch_end)
        small.train(split, tmp_path / "stopped", "base", config)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with caplog.at_level(logging.INFO, "mal_tf.training"):
        same(small.train(split, tmp_path / "stopped", "base", config), expected)
    assert "base: resumes after step 10" in caplog.text
    with pytest.raises(MalTfError, match="expected a checkpoint of this model 'mal', found one of another"):
        small.train(split, tmp_path / "stopped", "mal", config)


def test_sigterm_after_the_last_step_is_not_swallowed(tmp_path, monkeypatch):
    split, config = small.write(tmp_path), {"checkpoint": {"every_seconds": 1e9}}
    with monkeypatch.context() as patched, pytest.raises(Interrupted, match="after step 20; a checkpoint was saved"):
        patched.setattr(Progress, "on_train_end", lambda *_: signal.raise_signal(signal.SIGTERM))
        small.train(split, tmp_path / "stopped", "base", config)
    same(
        small.train(split, tmp_path / "stopped", "base", config), small.train(split, tmp_path / "whole", "base", config)
    )


def test_without_a_damaged_checkpoint_it_goes_on_from_the_one_before(tmp_path, caplog):
    split, config = small.write(tmp_path), {"checkpoint": {"every_steps": 8}}
    expected = small.train(split, tmp_path / "x", "base", config)
    next((tmp_path / "x").glob("ckpt-16.data*")).write_bytes(b"")
    with pytest.raises(MalTfError, match=r"a damaged one; remove \S+/ckpt-16\.\* to resume from \S+/ckpt-8:"):
        small.train(split, tmp_path / "x", "base", config)
    for path in (tmp_path / "x").glob("ckpt-16.*"):
        path.unlink()
    with caplog.at_level(logging.INFO, "mal_tf.training"):
        same(small.train(split, tmp_path / "x", "base", config), expected)
    assert "base: resumes after step 8" in caplog.text
    assert {path.stem for path in (tmp_path / "x").glob("*.index")} == {"ckpt-8", "ckpt-16"}


def test_who_is_not_the_chief_leaves_no_file(tmp_path, monkeypatch, caplog):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with caplog.at_level(logging.INFO, "mal_tf.training"):
        config = {"checkpoint": {"every_steps": 8}}
        small.train(small.write(tmp_path), tmp_path / "x", "base", config, cluster=Cluster(chief=False))
    assert "checkpoint of step 16" in caplog.text
    # TensorFlow removes the files of autograph at exit.
    assert all(path.name.startswith("__autograph") for path in scratch.iterdir()) and not (tmp_path / "x").exists()


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(tmp_path):
    config = {"optimizer": "sgd", "learning_rate": 1e25, "checkpoint": {"every_steps": 1}, "warmup_share": 1}
    with pytest.raises(MalTfError, match=r"not finite after step \d+ .*training.learning_rate"):
        small.train(small.write(tmp_path), tmp_path / "nan", "base", config)
    for path in (tmp_path / "nan").glob("*.index"):
        reader = tf.train.load_checkpoint(str(path).removesuffix(".index"))
        for name, dtype in reader.get_variable_to_dtype_map().items():
            assert not dtype.is_floating or np.isfinite(reader.get_tensor(name)).all()


def test_the_last_few_stay_by_time_and_by_step(tmp_path):
    small.train(small.write(tmp_path), tmp_path / "x", "base", {"checkpoint": {"every_seconds": 1e-9, "keep": 3}})
    assert {path.stem for path in (tmp_path / "x").glob("*.index")} == {"ckpt-18", "ckpt-19", "ckpt-20"}
