"""One pass over the training split, from wherever an earlier process left it."""

import contextlib
import functools
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.parsing import parse_features
from features.spec import FeatureSpec
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import Network
from mal_tf.training import corrupt, optimizers, prior, tpu, warm_start
from mal_tf.training.averaging import WeightAverages
from mal_tf.training.checkpoint import Checkpoints, Place
from mal_tf.training.cluster import ALONE, Cluster
from mal_tf.training.config import TrainingConfig
from mal_tf.training.dataset import batches, label_columns
from mal_tf.training.delayed_feedback import DelayedFeedback, Immature
from mal_tf.training.precision import precision
from mal_tf.training.progress import Progress
from mal_tf.training.replicas import most_rows
from mal_tf.training.split import Split
from mal_tf.training.trainer import Trainer

#: TensorBoard's event files, under the directory given to `fit`.
EVENTS = "tensorboard"

#: From the beginning, so few steps hardly move the weights from where they were drawn.
_FEW_STEPS = 100

log = logging.getLogger("mal_tf.train")


def fit(
    name: str,
    spec: FeatureSpec,
    lookup: keras.Model,
    vocabularies: Mapping[str, Sequence[str]],
    split: Split,
    targets: Sequence[str],
    model: ModelConfig,
    config: TrainingConfig,
    seed: int,
    directory: str,
    ready: tf.data.Dataset | None = None,
    cluster: Cluster = ALONE,
    immature: Immature | None = None,
) -> tuple[Network, dict]:
    """Builds and trains one model, in time order, each example once (but see `mal_tf.training.cluster` for a worker that dies).

    Args:
        name: of the model.
        spec: features.
        lookup: raw values → rows.
        vocabularies: lines of the vocabulary files.
        split: what to train on.
        targets: the primary and its auxiliaries.
        model: architecture.
        config: training.
        seed: of the initial weights, and of the order in which PCGrad projects.
        directory: for checkpoints and event files; a training with the same arguments that was cut short goes on from
            what lies there.
        ready: the batches themselves, as `batches` makes them of `split`, where something else has them already; on one
            device only, for a cluster reads its own shares.
        cluster: where to train; all its processes call this with the same arguments, and the chief writes.
        immature: how clicks whose window has not closed train; by default not at all. `ready` batches have it in them.

    Returns:
        The trained network, and `{"examples", "corrupt_records", "seconds", "examples_per_second", "parameters", "prior",
        "losses"}`, with a warm start `"warm_start"` too; seconds are those of all processes, `prior` is of
        `mal_tf.training.prior.kept`.

    Raises:
        Diverged: the loss or a weight is not finite.
        MalTfError: no clicks, a corrupt record, a checkpoint of another model, a loss that delayed feedback has no weights
            for.
        Interrupted: by SIGTERM.
        ValueError: `ready` for a cluster.
    """
    if ready is not None and cluster.name != "default":
        raise ValueError(f"ready batches are for one device, not for {cluster.name}")
    if not split.rows:
        raise MalTfError(f"{name}: the training split has no clicks; see labels.eval_from and the label report")
    if isinstance(immature, DelayedFeedback) and config.loss != "soft":
        raise MalTfError(
            f"training.loss: expected `soft` with delayed feedback, found `{config.loss}`: its weights need predictions that are "
            "expected credits"
        )
    parse = functools.partial(parse_features, spec=spec, extra=label_columns(targets, immature))
    on_tpu, steps = cluster.name == "tpu", math.ceil(split.rows / config.batch_size)
    rows_of = tpu.host_lookup(lookup) if on_tpu else lookup
    if steps < _FEW_STEPS and not config.warm_start:
        log.warning(
            "%s: %s clicks are %s steps of training.batch_size %s, too few to learn much: lower it, or label more days",
            *(name, f"{split.rows:,}", f"{steps:,}", f"{config.batch_size:,}"),
        )

    def read(readable: Split, step: int) -> tf.data.Dataset:
        if ready is not None:
            return ready.skip(step)
        left, skip = readable.after(step * config.batch_size)
        read = functools.partial(
            batches, left.segments, spec, rows_of, targets, config.batch_size, skip, immature=immature
        )
        return cluster.spread(read)

    description, report = warm_start.describe(name, spec, model, targets, vocabularies), {}
    while True:
        readable = split.replaced(corrupt.copies(directory))
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        cluster = cluster.afresh()
        with contextlib.nullcontext() if on_tpu else cluster.strategy.scope():
            with precision(config.precision):
                network = description.build()
            start = prior.start(network, split.labels, model, config.loss, targets)
            if config.warm_start:
                earlier = warm_start.locate(config.warm_start, name)
                report["warm_start"] = warm_start.take_over(network, description, vocabularies, earlier)
            kept_prior = prior.kept(network, start)
        with cluster.strategy.scope():
            of_tables, trained = optimizers.for_tables(config, steps), network
            if on_tpu:
                held = optimizers.for_tables_on_tpu(config, steps, of_tables.iterations)
                rows = most_rows(config.batch_size, cluster.strategy.num_replicas_in_sync)
                with precision(config.precision):
                    trained = tpu.twin(network, description, rows, held)
            trainer = Trainer(trained, targets, config, seed)
            trainer.compile(optimizer=optimizers.build(trained, config, steps, of_tables))
            averages = config.averaging and WeightAverages(network.model, config.averaging, steps)
            trainer.averages = averages.averages if averages else []
        try:
            place = _train(name, trainer, readable, read, parse, config, directory, cluster, averages)
            break
        except corrupt.Damaged as damage:
            if config.corrupt_records == "fail" or cluster.in_step:
                raise
            if not any(damage.file in segment for segment in split.segments):
                raise MalTfError(
                    f"{damage.file}: this copy without corrupt records was damaged itself; remove {directory} to train from "
                    "the start"
                ) from damage
            # The failed step may have done half of its work: as a new process would, go on from the last checkpoint.
            corrupt.leave_out(damage, parse, directory)
    if averages:
        averages.apply()
    if isinstance(trained, tpu.Twin):
        trained.hand_back()
    return network, {
        "examples": readable.rows,
        "corrupt_records": split.rows - readable.rows,
        "seconds": round(place.seconds, 3),
        "examples_per_second": round(readable.rows / place.seconds, 1),
        "parameters": network.model.count_params(),
        "prior": kept_prior,
        "losses": trainer.mean_losses,
        **report,
    }


def _train(
    name: str,
    trainer: Trainer,
    split: Split,
    read: Callable[[Split, int], tf.data.Dataset],
    parse: corrupt.Parse,
    config: TrainingConfig,
    directory: str,
    cluster: Cluster,
    averages: WeightAverages | None,
) -> Place:
    """Takes up the last checkpoint and trains to the end of the split."""
    checkpoints = Checkpoints(name, trainer, directory, config.checkpoint, cluster)
    checkpoints.restore()
    place, steps = checkpoints.place, math.ceil(split.rows / config.batch_size)
    callbacks: list[keras.callbacks.Callback] = [checkpoints]
    if averages:
        averages.first = place.step
        callbacks.insert(0, averages)  # Before the checkpoint that holds them.
    if cluster.chief:
        callbacks.append(Progress(name, split.rows, config.batch_size, place.step, f"{directory}/{EVENTS}"))
    try:
        if place.step < steps:
            with checkpoints.until_terminated():
                cluster.fit(trainer, read(split, place.step), steps - place.step, callbacks)
    except corrupt.ERRORS as error:
        left, _ = split.after(place.step * config.batch_size)
        if damage := corrupt.find(itertools.chain(*left.segments), parse):
            raise damage from error
        raise
    if place.step != steps:
        raise MalTfError(f"{name}: expected {split.rows:,} clicks in {steps:,} batches, found {place.step:,} batches")
    return place
