"""Choice of the auxiliary targets: train with and without, and see how well the primary is predicted.

In one pass over data in time order a batch's loss before its own step is a validation loss: progressive validation (Blum,
Kalai and Langford, COLT '99), also called prequential (Dawid, 1984). Two trainings that differ in one auxiliary target see
the same batches, so the differences of their primary losses, batch by batch, tell what that target is worth. That is how task
relations are found in Standley et al. (ICML 2020, arXiv 1905.07553): by training the tasks together.

Cheaper are gradients of one step, as in TAG (Fifty et al., NeurIPS 2021, arXiv 2109.04617), which holds the towers fixed. It
misses an auxiliary whose use is a better representation, to which the primary's tower has to adapt first: the case of
`tests/mal_tf/training/test_auxiliaries.py`, where it found nothing.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from features.errors import MalTfError
from features.keras2 import keras, tf
from mal_tf.training.assembly import assemble
from mal_tf.training.dataset import batches
from mal_tf.training.recipe import Recipe
from mal_tf.training.trainer import Trainer

log = logging.getLogger("mal_tf.training")

#: Blocks of neighbouring batches, whose means count as independent.
_BLOCKS = 20


def choose_auxiliaries(recipe: Recipe, ready: tf.data.Dataset | None = None) -> dict:
    """Chooses by `forward_selection`; each loss it asks for is a training of the recipe's model with the same seed: what is
    built before the towers starts alike.

    At most 1 + (N − 1) + (N − 2) + … + 1 trainings for N mechanisms; N if nothing helps. With `single_attribution` the
    auxiliaries are those that help without it, for in that ablation they all have the primary's label.

    Args:
        recipe: what to train. Its `targets` are the mechanisms to choose from, in configured order; `model.auxiliaries`,
            `training.warm_start` and `training.averaging` are ignored.
        ready: the split's batches, with the labels of all targets, for a caller that has them already.

    Returns:
        JSON-able: `{"auxiliaries": names in configured order, "gains": see forward_selection, "judged_batches": n}`.

    Raises:
        MalTfError: too few batches to judge by, or a loss that is not finite.
    """
    steps, mechanisms, primary = recipe.steps, recipe.targets, recipe.model.primary
    if steps < 2 * _BLOCKS:
        raise MalTfError(
            f"model.auxiliaries: auto: expected at least {2 * _BLOCKS} batches, found {steps} of {recipe.training.batch_size} "
            "clicks; lower training.batch_size, or name the auxiliaries"
        )
    training = recipe.training.model_copy(update={"warm_start": None, "averaging": None})

    def losses(auxiliaries: tuple[str, ...]) -> np.ndarray:
        model = recipe.model.model_copy(update={"auxiliaries": auxiliaries, "single_attribution": False})
        targets = model.targets(mechanisms)
        keras.backend.clear_session()
        trial = dataclasses.replace(recipe, targets=targets, model=model, training=training)
        dataset = ready or batches(recipe.split.segments, recipe.spec, recipe.lookup, targets, training.batch_size)
        every = progressive_losses(assemble(trial).trainer, dataset)
        judged = every[len(every) // 2 :]
        log.info("auxiliaries: loss of %s with %s: %.5f", primary, ", ".join(auxiliaries) or "none", judged.mean())
        return judged

    gains = forward_selection(losses, [name for name in mechanisms if name != primary])
    chosen = [name for name in mechanisms if name in gains and gains[name]["chosen"]]
    return {"auxiliaries": chosen, "gains": gains, "judged_batches": steps - steps // 2}


def progressive_losses(trainer: Trainer, dataset: tf.data.Dataset) -> np.ndarray:
    """Trains over the dataset; the primary head's loss on each batch before its step, float64 [batches].

    Args:
        trainer: compiled.
        dataset: batches in time order.

    Raises:
        MalTfError: a loss is not finite.
    """
    collected = _Losses(trainer.primary_loss_name)
    trainer.fit(dataset, epochs=1, verbose=0, callbacks=[collected])
    losses = np.array(collected.losses)
    if not np.isfinite(losses).all():
        raise MalTfError("model.auxiliaries: auto: the loss is not finite; lower training.learning_rate")
    return losses


class _Losses(keras.callbacks.Callback):
    """Collects one loss of each batch, where Keras shows means over the batches so far."""

    def __init__(self, name: str):
        super().__init__()
        self._name = name
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch, logs=None):
        for metric in self.model.metrics:
            metric.reset_state()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs[self._name]))


def forward_selection(losses: Callable[[tuple[str, ...]], np.ndarray], candidates: Sequence[str]) -> dict[str, dict]:
    """Takes in the candidate with the largest gain for as long as that gain is above 0 at a one-sided 95% level.

    As it is the best of those left, each is judged at the level 1 − 0.05 / left (Bonferroni). The gain of i beside a set
    S is mean(losses(S) − losses(S ∪ {i})) / mean(losses(S)), its interval by block means.

    Args:
        losses: of the primary target, with these auxiliaries: float64 [batches] in time order, at least `_BLOCKS`.
        candidates: names.

    Returns:
        By name, in the order of choice: `{"gain", "low", "high", "chosen"}`; the gain beside the ones chosen before, for
        those not chosen beside all that were; `low` and `high` each hold at the level it was judged by.
    """
    taken: tuple[str, ...] = ()
    results: dict[str, dict] = {}
    left = list(candidates)
    base = losses(taken)
    while left:
        beside = {name: losses((*taken, name)) for name in left}
        gains = {name: interval((base - own) / base.mean(), len(left)) for name, own in beside.items()}
        best = max(left, key=lambda name: gains[name][0])
        chosen = gains[best][1] > 0
        for name in [best] if chosen else tuple(left):
            results[name] = dict(zip(("gain", "low", "high"), gains[name], strict=True)) | {"chosen": chosen}
            left.remove(name)
        taken, base = (*taken, best), beside[best]
    return results


def interval(values: np.ndarray, tests: int = 1) -> tuple[float, float, float]:
    """Mean of the block means of a series in time order, and limits that each hold at the level 1 − 0.05 / tests.

    Args:
        values: float64 [n], n ≥ `_BLOCKS`; neighbours may depend on each other, blocks are taken for independent.
        tests: how many such intervals are looked at together.
    """
    means = np.array([block.mean() for block in np.array_split(values, _BLOCKS)])
    half = stats.t.isf(0.05 / tests, _BLOCKS - 1) * means.std(ddof=1) / math.sqrt(_BLOCKS)
    return float(means.mean()), float(means.mean() - half), float(means.mean() + half)
