"""Checkpoints of a training: weights, optimiser, mean losses and position in the data, saved by step and by time."""

import contextlib
import json
import logging
import math
import pathlib
import signal
import tempfile
import threading
import time
from collections.abc import Iterator

from features.errors import Interrupted, MalTfError
from features.keras2 import keras, tf
from mal_tf.training.cluster import ALONE, Cluster
from mal_tf.training.config import CheckpointConfig

log = logging.getLogger("mal_tf.training")


class Place(tf.train.experimental.PythonState):
    """Progress of a training. Every batch but the last is full, so the step determines the number of examples seen.

    Attributes:
        step: number of steps done.
        seconds: time spent on them, over all processes that resumed each other.
    """

    def __init__(self):
        self.step, self.seconds = 0, 0.0

    def serialize(self) -> str:
        """Encodes the progress as JSON."""
        return json.dumps([self.step, self.seconds])

    def deserialize(self, text: bytes) -> None:
        """Restores the progress from the result of `serialize`."""
        self.step, self.seconds = json.loads(text)


class Diverged(MalTfError):
    """The loss or a weight is not finite."""


class Checkpoints(keras.callbacks.Callback):
    """Callback that saves checkpoints of a training, and resumes from the latest one.

    A checkpoint is written completely or not at all, and the last `keep` are retained. Checkpoints with weights that are not
    finite are never written.

    Args:
        name: name of the model.
        trainer: compiled trainer with a built optimiser, all of whose variables are saved.
        directory: directory for the checkpoints of this training only.
        config: when to save, and how many checkpoints to keep.
        cluster: where the training runs. In a cluster whose processes run in step, all of them save, because mean losses are
            summed over them, but only the chief keeps its checkpoint. Such processes save by step only, not by time.

    Attributes:
        place: progress of the training.
    """

    def __init__(
        self, name: str, trainer: keras.Model, directory: str, config: CheckpointConfig, cluster: Cluster = ALONE
    ):
        super().__init__()
        self.place = Place()
        self._name, self._trainer, self._config = name, trainer, config
        self._whole = tf.train.Checkpoint(trainer=trainer, place=self.place)
        self._directory, self._in_step, self._chief = directory, cluster.in_step, cluster.chief
        self._terminated: threading.Event | None = None
        self._saved: int | None = None
        self._clock = self._last = time.monotonic()

    def restore(self) -> None:
        """Restores the latest checkpoint, if there is one.

        Raises:
            MalTfError: the checkpoint is damaged, or of another model.
        """
        state = tf.train.get_checkpoint_state(self._directory)
        listed = state.all_model_checkpoint_paths if state else ()
        *older, path = [None, *(kept for kept in listed if pathlib.Path(f"{kept}.index").exists())]
        if not path:
            return
        try:
            self._whole.restore(path).assert_existing_objects_matched()
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
            raise MalTfError(
                f"{path}: expected a checkpoint of this model '{self._name}', found one of another, or a damaged one; remove "
                f"{path}.* to resume from {older[-1] or 'the start'}: {str(error).splitlines()[0]}"
            ) from error
        self._saved = self.place.step
        log.info("%s: resumes after step %s", self._name, f"{self.place.step:,}")

    @contextlib.contextmanager
    def until_terminated(self) -> Iterator[None]:
        """Context in which SIGTERM lets the current step end, saves a checkpoint and raises `Interrupted`."""
        if self._in_step or threading.current_thread() is not threading.main_thread():
            yield  # A single process of a cluster can't save, and Python delivers signals only to the main thread.
            return
        self._terminated = terminated = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: terminated.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
        self._stop_if_terminated()  # The signal may have come after the last step.

    def on_train_begin(self, logs=None):
        """See base class."""
        self._first = self.place.step
        self._clock = self._last = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """See base class."""
        now = time.monotonic()
        before, self.place.step = self.place.step, self._first + batch + 1
        self.place.seconds += now - self._clock
        self._clock = now
        losses = {key: float(value) for key, value in logs.items() if key.startswith("loss")}
        if not all(map(math.isfinite, losses.values())):
            raise self._not_finite("the loss is", losses)
        every = self._config.every_steps
        by_step = every is not None and self.place.step // every > before // every
        by_time = not self._in_step and now - self._last >= self._config.every_seconds
        if by_step or by_time:
            self._save()
        self._stop_if_terminated()

    def _stop_if_terminated(self) -> None:
        if self._terminated is not None and self._terminated.is_set():
            if self._saved != self.place.step:
                self._save()
            raise Interrupted(
                f"{self._name}: stopped by SIGTERM after step {self.place.step:,}; a checkpoint was saved, from which the same "
                "command resumes"
            )

    def on_train_end(self, logs=None):
        """See base class."""
        self._check_weights()

    def _check_weights(self) -> None:
        # The sum is finite only if all values are, and needs no additional memory.
        bad = [v.name for v in self._trainer.variables if v.dtype.is_floating and not _finite_sum(v)]
        if bad:
            raise self._not_finite("weights are", bad)

    def _save(self) -> None:
        began = time.monotonic()
        self._check_weights()
        with contextlib.nullcontext(self._directory) if self._chief else tempfile.TemporaryDirectory() as written:
            manager = tf.train.CheckpointManager(self._whole, written, max_to_keep=self._config.keep)
            manager.save(checkpoint_number=self.place.step)
        self._saved, self._last = self.place.step, time.monotonic()
        log.info("%s: checkpoint of step %s, in %.1f s", self._name, f"{self._saved:,}", self._last - began)

    def _not_finite(self, subject: str, values) -> Diverged:
        kept = (
            f"the checkpoint of step {self._saved:,} is left as it is" if self._saved else "there is no checkpoint yet"
        )
        return Diverged(
            f"{self._name}: {subject} not finite after step {self.place.step:,} ({values}); {kept}. Lower "
            "training.learning_rate or training.embedding_learning_rate, or set training.clip_norm"
        )


def _finite_sum(variable: tf.Variable) -> bool:
    return bool(tf.math.is_finite(tf.reduce_sum(variable)))
