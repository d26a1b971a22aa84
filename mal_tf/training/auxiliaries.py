"""Selection of auxiliary targets by progressive validation of the primary target's loss.

In one pass over data in time order, the loss of a batch before its own step is a validation loss. This is progressive
validation (Blum, Kalai and Langford, COLT '99), also called prequential (Dawid, 1984). Two trainings that differ in one
auxiliary target see the same batches, so the differences of their primary losses by batch measure the worth of that target.
Standley et al. (ICML 2020, arXiv 1905.07553) also find relations between tasks by training them together.

Gradients of a single step, as in TAG (Fifty et al., NeurIPS 2021, arXiv 2109.04617), are cheaper, but hold the towers fixed.
They miss an auxiliary that improves the representation, to which the tower of the primary first has to adapt.
"""

import contextlib
import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.parsing import parse_features
from mal_tf.training import corrupt
from mal_tf.training.assembly import assemble
from mal_tf.training.dataset import batches, label_columns
from mal_tf.training.recipe import Recipe
from mal_tf.training.trainer import Trainer

log = logging.getLogger("mal_tf.training")

#: Number of blocks of consecutive batches, whose means are treated as independent.
_BLOCKS = 20


def choose_auxiliaries(recipe: Recipe, ready: tf.data.Dataset | None = None) -> dict:
    """Selects auxiliary targets by `forward_selection` on losses of trainings of the recipe's model.

    All trainings have the same seed, so that everything below the towers starts with the same weights. There are at most
    1 + (N − 1) + (N − 2) + … + 1 trainings for N mechanisms, and N if no auxiliary helps. With `single_attribution`, in which
    all targets have the primary's label, the selection is made without it.

    Args:
        recipe: the training. Its `targets` are the candidate mechanisms, in configured order; `model.auxiliaries`,
            `training.warm_start` and `training.averaging` are ignored.
        ready: batches of the split with the labels of all targets, if the caller already has them.

    Returns:
        A JSON-serializable dict: `{"auxiliaries": names in configured order, "gains": see forward_selection,
        "judged_batches": n}`.

    Raises:
        MalTfError: there are too few batches, or a loss is not finite.
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
        dataset = ready or batches(recipe.split, recipe.spec, recipe.lookup, targets, training.batch_size)
        parse = functools.partial(parse_features, spec=recipe.spec, extra=label_columns(targets))
        with contextlib.nullcontext() if ready else corrupt.named(recipe.split, parse):
            all_losses = progressive_losses(assemble(trial).trainer, dataset)
        judged = all_losses[len(all_losses) // 2 :]
        log.info("auxiliaries: loss of %s with %s: %.5f", primary, ", ".join(auxiliaries) or "none", judged.mean())
        return judged

    gains = forward_selection(losses, [name for name in mechanisms if name != primary])
    chosen = [name for name in mechanisms if name in gains and gains[name]["chosen"]]
    return {"auxiliaries": chosen, "gains": gains, "judged_batches": steps - steps // 2}


def progressive_losses(trainer: Trainer, dataset: tf.data.Dataset) -> np.ndarray:
    """Trains over a dataset and returns the primary head's loss on each batch before its step, float64 [batches].

    Args:
        trainer: compiled trainer.
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
    """Collects a loss of each batch, whereas Keras reports means over all batches so far."""

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
    """Adds the candidate with the largest gain as long as that gain is above 0 at a one-sided 95% level.

    Since the best of those remaining is tested, the level is 1 − 0.05 / remaining (Bonferroni). The gain of i beside a set S
    is mean(losses(S) − losses(S ∪ {i})) / mean(losses(S)), with an interval from block means.

    Args:
        losses: function from auxiliaries to the losses of the primary target, float64 [batches] in time order, at least
            `_BLOCKS`.
        candidates: names of the candidates.

    Returns:
        `{"gain", "low", "high", "chosen"}` by name, in the order of selection. The gain is that beside the candidates
        selected before, or beside all selected ones if it was not selected itself; `low` and `high` each hold at the level
        of its test.
    """
    selected: tuple[str, ...] = ()
    results: dict[str, dict] = {}
    remaining = list(candidates)
    base = losses(selected)
    while remaining:
        with_candidate = {name: losses((*selected, name)) for name in remaining}
        gains = {name: interval((base - own) / base.mean(), len(remaining)) for name, own in with_candidate.items()}
        best = max(remaining, key=lambda name: gains[name][0])
        chosen = gains[best][1] > 0
        for name in [best] if chosen else tuple(remaining):
            results[name] = dict(zip(("gain", "low", "high"), gains[name], strict=True)) | {"chosen": chosen}
            remaining.remove(name)
        selected, base = (*selected, best), with_candidate[best]
    return results


def interval(values: np.ndarray, tests: int = 1) -> tuple[float, float, float]:
    """Mean of the block means of a series in time order, and limits that each hold at the level 1 − 0.05 / tests.

    Args:
        values: float64 [n], n ≥ `_BLOCKS`. Neighbours may be correlated, blocks are treated as independent.
        tests: number of intervals that are considered together.
    """
    means = np.array([block.mean() for block in np.array_split(values, _BLOCKS)])
    half = stats.t.isf(0.05 / tests, _BLOCKS - 1) * means.std(ddof=1) / math.sqrt(_BLOCKS)
    return float(means.mean()), float(means.mean() - half), float(means.mean() + half)
