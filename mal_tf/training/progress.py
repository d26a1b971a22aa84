"""Progress of a training: a log line every few seconds, and scalars for TensorBoard."""

import logging
import math
import time

from features.keras2 import keras, tf
from mal_tf.training.level import LABELS, PREDICTIONS, Point, pcoc_between, swinging

#: Name of TensorBoard's scalar of PCOC since the previous point.
PCOC = "pcoc"

#: Least number of points of a learning curve, if there are as many steps.
CURVE_POINTS = 50

log = logging.getLogger("mal_tf.training")


class Progress(keras.callbacks.Callback):
    """Callback that logs examples, examples/s, time left and mean losses since the first step, and writes scalars.

    TensorBoard also gets the mean losses every few steps, so that short trainings have a curve too, the sums behind PCOC, and
    PCOC since the previous point. If the level has not settled at the end, a warning is logged.

    Args:
        name: name of the model.
        examples: number of examples.
        batch_size: examples per step.
        step: number of steps done before.
        directory: directory for TensorBoard's event files.
        every: seconds between log lines.
    """

    def __init__(self, name: str, examples: int, batch_size: int, step: int, directory: str, every: float = 2.0):
        super().__init__()
        self._name, self._examples, self._batch_size, self._every = name, examples, batch_size, every
        self._writer = tf.summary.create_file_writer(directory)
        self._between = max(1, math.ceil(examples / batch_size) // CURVE_POINTS)
        self._first, self._done = step, step * batch_size
        self._shown = self._done
        self._points: list = []

    def on_train_begin(self, logs=None):
        """See base class."""
        self._last = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """See base class."""
        self._step = self._first + batch + 1
        self._done = min(self._step * self._batch_size, self._examples)
        if time.monotonic() - self._last >= self._every:
            self._show(logs)
        elif self._step % self._between == 0:
            self._write(_scalars(logs))

    def on_train_end(self, logs=None):
        """See base class."""
        if self._shown < self._done:
            self._show(logs)
        self._writer.close()
        if parts := swinging(self._points):
            log.warning(
                "%s: the level of the predictions has not settled: PCOC over the eighths of the last quarter of the steps is %s; "
                "train on more clicks, lower training.learning_rate, or set training.averaging",
                self._name,
                ", ".join(map(str, parts)),
            )

    def _show(self, logs: dict) -> None:
        now = time.monotonic()
        rate = (self._done - self._shown) / max(now - self._last, 1e-9)
        losses = _losses(logs)
        log.info(
            "%s: %s of %s examples, %s examples/s, %.0f s left, mean losses: %s",
            self._name,
            f"{self._done:,}",
            f"{self._examples:,}",
            f"{rate:,.0f}",
            (self._examples - self._done) / max(rate, 1e-9),
            ", ".join(f"{name.removeprefix('loss_')} {value:.4f}" for name, value in losses.items()),
        )
        self._write({"examples_per_second": rate, **_scalars(logs)})
        self._last, self._shown = now, self._done

    def _write(self, scalars: dict[str, float]) -> None:
        if LABELS in scalars:
            self._points.append(Point(self._step, scalars[PREDICTIONS], scalars[LABELS]))
            *_, (step, pcoc, _) = pcoc_between(self._points[-2:]) or [(0, 0.0, 0.0)]
            scalars = scalars | ({PCOC: pcoc} if step == self._step else {})
        with self._writer.as_default(step=self._step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)


def _losses(logs: dict | None) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items() if name.startswith("loss_")}


def _scalars(logs: dict | None) -> dict[str, float]:
    return _losses(logs) | {name: float(logs[name]) for name in (PREDICTIONS, LABELS) if logs and name in logs}
