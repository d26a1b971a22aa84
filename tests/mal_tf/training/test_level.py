"""PCOC over the course of a training, and when its level is said not to have settled."""

import logging

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mal_tf.training.level import LABELS, PREDICTIONS, Point, swinging
from mal_tf.training.progress import PCOC, Progress


def points(predictions, labels) -> list[Point]:
    sums = zip(np.cumsum(predictions).tolist(), np.cumsum(labels).tolist(), strict=True)
    return [Point(step, *of_step) for step, of_step in enumerate(sums, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_chance_is_no_swing(seed):
    labels = np.random.default_rng(seed).poisson(4.0, 100)
    assert swinging(points(np.full(100, 4.0), labels)) == []


def test_a_swing_at_the_end_is_seen_and_one_at_the_beginning_is_not():
    level = np.where(np.arange(100) % 24 < 12, 1.6, 0.4)
    assert swinging(points(50 * level, np.full(100, 50.0)))
    early = np.where(np.arange(100) < 70, level, 1.0)
    assert swinging(points(50 * early, np.full(100, 50.0))) == []


def test_small_differences_are_none_however_sure_and_nothing_is_said_of_few_points():
    assert swinging(points(np.full(100, 1.05e6), np.full(100, 1e6))) == []
    assert swinging(points(np.full(5, 400.0), np.full(5, 100.0))) == []
    assert swinging(points(np.full(100, 1.0), np.zeros(100))) == []


def test_the_log_warns_and_tensorboard_has_the_course(tmp_path, caplog):
    progress = Progress("mal", 1000, batch_size=10, step=0, directory=str(tmp_path), every=3600)
    progress.on_train_begin()
    with caplog.at_level(logging.WARNING, "mal_tf.training"):
        for batch in range(100):
            sums = {PREDICTIONS: 150.0 * (batch + 1), LABELS: 100.0 * (batch + 1)}
            progress.on_train_batch_end(batch, {"loss_last": 1.0} | sums)
        progress.on_train_end({"loss_last": 1.0} | sums)
    assert "mal: the level of the predictions has not settled" in caplog.text
    assert "is 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5; train on more clicks" in caplog.text
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert {PCOC, PREDICTIONS, LABELS} < set(events.Tags()["tensors"])
    assert len({event.step for event in events.Tensors(PCOC)}) == 50
