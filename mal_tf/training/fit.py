"""One pass over the training split."""

import math
import time
from collections.abc import Sequence

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import table_sizes
from features.spec import FeatureSpec
from mal_tf.models import catalog
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import Network
from mal_tf.training import optimizers
from mal_tf.training.config import TrainingConfig
from mal_tf.training.dataset import batches
from mal_tf.training.progress import Progress
from mal_tf.training.trainer import Trainer


def fit(
    name: str,
    spec: FeatureSpec,
    lookup: keras.Model,
    vocabularies: dict[str, Sequence[str]],
    segments: Sequence[Sequence[str]],
    examples: int,
    targets: Sequence[str],
    model: ModelConfig,
    config: TrainingConfig,
    seed: int,
    tensorboard: str,
    ready: tf.data.Dataset | None = None,
) -> tuple[Network, dict]:
    """Builds and trains one model, in time order, each example once.

    Args:
        name: of the model.
        spec: features.
        lookup: raw values → rows.
        vocabularies: lines of the vocabulary files.
        segments: files of each segment.
        examples: how many there are in all.
        targets: the primary and its auxiliaries.
        model: architecture.
        config: training.
        seed: of the initial weights, and of the order in which PCGrad projects.
        tensorboard: directory for event files.
        ready: the batches themselves, as `batches` makes them of `segments`, where something else has them already.

    Returns:
        The trained network, and `{"examples", "seconds", "examples_per_second", "parameters", "losses"}`.

    Raises:
        MalTfError: a loss that is not finite.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    network = catalog.build(name, spec, table_sizes(spec, vocabularies), model, targets)
    steps = math.ceil(examples / config.batch_size)
    trainer = Trainer(network, targets, config, seed)
    trainer.compile(optimizer=optimizers.build(network, config, steps))
    dataset = ready or batches(segments, spec, lookup, targets, config.batch_size)
    began = time.monotonic()
    progress = Progress(name, examples, config.batch_size, tensorboard)
    history = trainer.fit(dataset, epochs=1, verbose=0, callbacks=[progress, keras.callbacks.TerminateOnNaN()])
    seconds = time.monotonic() - began
    losses = {key.removeprefix("loss_"): float(v[-1]) for key, v in history.history.items() if key.startswith("loss_")}
    if not all(math.isfinite(value) for value in (*losses.values(), history.history["loss"][-1])):
        raise MalTfError(
            f"{name}: the loss is not finite ({losses}); lower training.learning_rate or set training.clip_norm"
        )
    return network, {
        "examples": examples,
        "seconds": round(seconds, 3),
        "examples_per_second": round(examples / seconds, 1),
        "parameters": network.model.count_params(),
        "losses": losses,
    }
