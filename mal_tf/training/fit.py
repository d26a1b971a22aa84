"""Training of one model in a single pass over the training split, with resumption from checkpoints."""

import functools
import logging
import math
from collections.abc import Callable

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup_layers import outside_of_table
from features.parsing import parse_features
from features.plain_path import plain_path
from mal_tf.models.network import Network
from mal_tf.training import corrupt, tpu
from mal_tf.training.assembly import Assembly, assemble
from mal_tf.training.checkpoint import Checkpoints, Place
from mal_tf.training.cluster import ALONE, Cluster
from mal_tf.training.dataset import batches, label_columns
from mal_tf.training.delayed_feedback import DelayedFeedback, Immature
from mal_tf.training.progress import Progress
from mal_tf.training.recipe import Recipe
from mal_tf.training.replicas import Part
from mal_tf.training.split import Split

#: Directory of TensorBoard's event files, under the directory given to `fit`.
EVENTS = "tensorboard"

#: With fewer steps, the weights hardly change from their initial values, which is warned of.
_FEW_STEPS = 100

log = logging.getLogger("mal_tf.train")


def fit(
    recipe: Recipe,
    directory: str,
    ready: tf.data.Dataset | None = None,
    cluster: Cluster = ALONE,
    immature: Immature | None = None,
) -> tuple[Network, dict]:
    """Builds and trains one model in time order, using each example once.

    An exception are clusters in which a worker dies, see `mal_tf.training.cluster`.

    Args:
        recipe: what to train, on which data, and how.
        directory: directory for checkpoints and event files. An interrupted training with the same arguments resumes from
            its checkpoint there.
        ready: batches of the split, as `batches` returns them, if the caller already has them. Supported on one device
            only, because each process of a cluster reads its own shares.
        cluster: where to train. All its processes call this function with the same arguments, and the chief writes.
        immature: how clicks whose window has not closed are trained on; not at all by default. `ready` batches have been
            converted already.

    Returns:
        The trained network, and a report: `{"examples", "corrupt_records", "seconds", "examples_per_second", "parameters",
        "prior", "losses"}`, with a warm start also `"warm_start"`. Seconds are summed over resumed processes, and `prior` is
        the result of `mal_tf.training.prior.kept`.

    Raises:
        Diverged: the loss or a weight is not finite.
        MalTfError: there are no clicks, a record is corrupt, a checkpoint is of another model, or delayed feedback does not
            support the loss.
        Interrupted: the process received SIGTERM.
        ValueError: `ready` is given for a cluster.
    """
    if ready is not None and cluster.name != "default":
        raise ValueError(f"ready batches are for one device, not for {cluster.name}")
    name, split, config = recipe.name, recipe.split, recipe.training
    if not split.rows:
        raise MalTfError(f"{name}: the training split has no clicks; see labels.eval_from and the label report")
    if isinstance(immature, DelayedFeedback) and config.loss != "soft":
        raise MalTfError(
            f"training.loss: expected `soft` with delayed feedback, found `{config.loss}`; the weights of delayed feedback "
            "need predictions that are expected credits"
        )
    if recipe.steps < _FEW_STEPS and not config.warm_start:
        log.warning(
            "%s: %s clicks are %s steps of training.batch_size %s, too few to learn much; lower it, or label more days",
            *(name, f"{split.rows:,}", f"{recipe.steps:,}", f"{config.batch_size:,}"),
        )
    parse = functools.partial(parse_features, spec=recipe.spec, extra=label_columns(recipe.targets, immature))

    def read(readable: Split, step: int) -> tf.data.Dataset:
        if ready is not None:
            return ready.skip(step)
        remaining, skip = readable.after(step * config.batch_size)
        lookup = tpu.host_lookup(recipe.lookup) if cluster.name == "tpu" else recipe.lookup
        arguments = (remaining, recipe.spec, lookup, recipe.targets, config.batch_size)
        return cluster.spread(lambda part: batches(*arguments, part, immature), Part(skip=skip))

    if cluster.chief:
        tf.io.gfile.makedirs(directory)
    while True:
        readable = split.replaced(corrupt.copies(directory))
        cluster = cluster.afresh()
        assembly = assemble(recipe, cluster=cluster)
        try:
            with plain_path(directory) as path:
                place = _train(recipe, assembly, readable, read, parse, path, cluster)
            break
        except corrupt.Damaged as damage:
            if config.corrupt_records == "fail" or cluster.in_step:
                raise
            if not any(damage.file in segment for segment in split.segments):
                raise MalTfError(
                    f"{damage.file}: this copy without corrupt records was damaged itself; remove {directory} to train from "
                    "the start"
                ) from damage
            # The failed step may be partly done, so resume from the last checkpoint, as a new process would.
            corrupt.leave_out(damage, parse, directory)
    assembly.finish()
    return assembly.network, {
        "examples": readable.rows,
        "corrupt_records": split.rows - readable.rows,
        "seconds": round(place.seconds, 3),
        "examples_per_second": round(readable.rows / place.seconds, 1),
        "parameters": assembly.network.model.count_params(),
        "prior": assembly.prior,
        "losses": assembly.trainer.mean_losses,
        **({"warm_start": assembly.restored} if config.warm_start else {}),
    }


def _train(
    recipe: Recipe,
    assembly: Assembly,
    split: Split,
    read: Callable[[Split, int], tf.data.Dataset],
    parse: corrupt.Parse,
    directory: str,
    cluster: Cluster,
) -> Place:
    """Resumes from the last checkpoint and trains to the end of the split; `read` returns its batches from a step on."""
    name, size, averages = recipe.name, recipe.training.batch_size, assembly.averages
    checkpoints = Checkpoints(name, assembly.trainer, directory, recipe.training.checkpoint, cluster)
    checkpoints.restore()
    place, steps = checkpoints.place, math.ceil(split.rows / size)
    callbacks: list[keras.callbacks.Callback] = [checkpoints]
    if averages:
        averages.first = place.step
        callbacks.insert(0, averages)  # Updated before the checkpoint that contains them is saved.
    if cluster.chief:
        callbacks.append(Progress(name, split.rows, size, place.step, f"{directory}/{EVENTS}"))
    try:
        if place.step < steps:
            with checkpoints.until_terminated():
                cluster.fit(assembly.trainer, read(split, place.step), steps - place.step, callbacks)
    except corrupt.ERRORS as error:
        if message := outside_of_table(error):
            raise MalTfError(message) from error
        remaining, _ = split.after(place.step * size)
        if not split.in_memory and (damage := corrupt.find(remaining, parse)):
            raise damage from error
        raise
    if place.step != steps:
        raise MalTfError(f"{name}: expected {split.rows:,} clicks in {steps:,} batches, found {place.step:,} batches")
    return place
