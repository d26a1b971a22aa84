"""Progress of a training: a line every few seconds, the same numbers for TensorBoard."""

import logging
import time

from features.keras2 import keras, tf

log = logging.getLogger("mal_tf.training")


class Progress(keras.callbacks.Callback):
    """Logs steps, examples, examples/s, time left and the losses' means since the first step; writes them to TensorBoard.

    Args:
        name: of the model.
        examples: how many there are.
        batch_size: examples per step.
        step: steps done before.
        directory: for TensorBoard's event files.
        every: seconds between lines.
    """

    def __init__(self, name: str, examples: int, batch_size: int, step: int, directory: str, every: float = 2.0):
        super().__init__()
        self._name, self._examples, self._batch_size, self._every = name, examples, batch_size, every
        self._writer = tf.summary.create_file_writer(directory)
        self._first, self._done = step, step * batch_size
        self._shown = self._done

    def on_train_begin(self, logs=None):
        """See base class."""
        self._last = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """See base class."""
        self._step = self._first + batch + 1
        self._done = min(self._step * self._batch_size, self._examples)
        if time.monotonic() - self._last >= self._every:
            self._show(logs)

    def on_train_end(self, logs=None):
        """See base class."""
        if self._shown < self._done:
            self._show(logs)
        self._writer.close()

    def _show(self, logs: dict) -> None:
        now = time.monotonic()
        rate = (self._done - self._shown) / max(now - self._last, 1e-9)
        losses = {name: float(value) for name, value in (logs or {}).items() if name.startswith("loss_")}
        log.info(
            "%s: %s of %s examples, %s examples/s, %.0f s left, mean losses: %s",
            self._name,
            f"{self._done:,}",
            f"{self._examples:,}",
            f"{rate:,.0f}",
            (self._examples - self._done) / max(rate, 1e-9),
            ", ".join(f"{name.removeprefix('loss_')} {value:.4f}" for name, value in losses.items()),
        )
        with self._writer.as_default(step=self._step):
            tf.summary.scalar("examples_per_second", rate)
            for name, value in losses.items():
                tf.summary.scalar(name, value)
        self._last, self._shown = now, self._done
