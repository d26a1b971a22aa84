"""The gates: compares a candidate with the serving model on the same clicks, and with fixed limits."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic

from features.errors import MalTfError
from features.frozen import Frozen, Names, Range
from features.spec import FeatureSpec
from mal_tf.evaluation.bootstrap import MIN_USERS, Scored, resampled_together
from mal_tf.evaluation.judgement import losses
from mal_tf.evaluation.metrics import HIGHER, LOWER, Auc, Pcoc, additive_metrics
from mal_tf.serving import OUTPUT
from pipelines.config.evaluation import PATH_LENGTH
from pipelines.evaluate import users
from pipelines.evaluate.slices import slice_by

#: Names of the two models; their predictions are in columns `cvr_<name>`.
CANDIDATE, BLESSED = "candidate", "blessed"

_NO_INTERVAL = f"no interval as less than {MIN_USERS} users carry it"


def _check_names(limits: dict[str, float], but: str = "") -> dict[str, float]:
    """Check that limits are of metrics with intervals, whose better direction is not `but`, and that they can be met."""
    metrics = {name: metric for name, metric in additive_metrics().items() if metric.better != but}
    for name, limit in limits.items():
        if name not in metrics:
            raise ValueError(f"expected metrics among {', '.join(metrics)}, found '{name}'")
        low, high = metrics[name].limits
        if not low <= limit <= high:
            raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, found {limit:g}")
    return limits


#: Limits by metric name.
Floors = Annotated[dict[str, float], pydantic.AfterValidator(lambda limits: _check_names(limits, LOWER))]
Ceilings = Annotated[dict[str, float], pydantic.AfterValidator(lambda limits: _check_names(limits, HIGHER))]
Losses = Annotated[dict[str, pydantic.NonNegativeFloat], pydantic.AfterValidator(_check_names)]


class Limits(Frozen):
    """Limits that a candidate must meet.

    Attributes:
        floors: least values, by metric, such as `auc` and `gauc`; not for metrics that are better when lower.
        ceilings: largest values, by metric, such as `log_loss`; not for metrics that are better when higher.
        pcoc: least and largest PCOC.
        allowed_loss: by how much each metric may be worse than the blessed model's: AUC and GAUC lower, log-loss higher,
            |PCOC − 1| higher.
        significant: whether a loss leads to refusal only if its whole 95% bootstrap interval is above the allowed loss.
            Otherwise the loss itself decides.
    """

    floors: Floors = {}
    ceilings: Ceilings = {}
    pcoc: Range | None = None
    allowed_loss: Losses = {}
    significant: bool = False


class SliceLimits(Limits):
    """Limits that a candidate must meet on each slice with enough positives.

    Attributes:
        by: categorical features, or `path_length`, whose slices have the positives of that length and all negatives.
        min_positives: slices with fewer positives are not judged.
        significant: see `Limits`; by default true, as among many slices some lose by chance.
    """

    by: Names = ()
    min_positives: int = pydantic.Field(100, ge=1)
    significant: bool = True

    def features(self, spec: FeatureSpec) -> tuple[str, ...]:
        """Return the features that slices are by.

        Raises:
            MalTfError: one is not a categorical feature.
        """
        categorical = [feature.name for feature in spec.categorical]
        features = tuple(name for name in self.by if name != PATH_LENGTH)
        if unknown := [name for name in features if name not in categorical]:
            raise MalTfError(
                f"gates.slices.by: '{unknown[0]}' is neither {PATH_LENGTH} nor a categorical feature; there are: "
                + ", ".join(categorical)
            )
        return features


class GatesConfig(Limits):
    """Limits that a candidate must meet on all clicks and on slices.

    Attributes:
        floors: see `Limits`; by default better than chance.
        pcoc: see `Limits`; by default within a factor of 2.
        allowed_loss: see `Limits`.
        slices: limits on each slice.
        samples: number of bootstrap resamples of the users, for the intervals.
    """

    floors: Floors = {Auc.name: 0.5}
    pcoc: Range | None = (0.5, 2.0)
    allowed_loss: Losses = {Auc.name: 0.01}
    slices: SliceLimits = SliceLimits()
    samples: int = pydantic.Field(200, ge=1)


@dataclasses.dataclass(frozen=True)
class Part:
    """Results of both models on all clicks or on a slice. Metrics that are not defined are None.

    Attributes:
        by: kind of slice; empty for all clicks.
        name: name of the slice.
        clicks: number of clicks.
        positives: number of positives.
        metrics: metrics by model and name.
        losses: for each metric `difference`, how much worse the candidate is (see `Limits.allowed_loss`), with its 95%
            interval `low`, `high`; empty without a blessed model.
    """

    by: str
    name: str
    clicks: int
    positives: int
    metrics: dict[str, dict[str, float | None]]
    losses: dict[str, dict[str, float | None]]

    def __str__(self) -> str:
        name = f"{self.by} = {self.name}" if self.by else "all"
        return f"{name} ({self.clicks:,} clicks, {self.positives:,} positives)"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The result of the gates.

    Attributes:
        all: results on all clicks.
        slices: results on each slice with enough positives.
        reasons: reasons against the candidate; empty if it passes.
        notes: notes on what could not be judged.
    """

    all: Part
    slices: list[Part]
    reasons: list[str]
    notes: list[str]


def judge(clicks: pd.DataFrame, target: str, gates: GatesConfig, seed: int) -> Judgement:
    """Judge a candidate, against the blessed model if there is one.

    Args:
        clicks: scored clicks, as returned by `pipelines.clicks.scoring.score`: `user_id`, `label_<target>`,
            `cvr_candidate`, `cvr_blessed`, and the columns that slices are by. On a first run there is no `cvr_blessed`, and
            only floors, ceilings and PCOC are judged.
        target: mechanism whose label is the ground truth.
        gates: the limits.
        seed: seed of the resamples.
    """
    user, hashed = users.coded(clicks["user_id"])
    label = clicks[f"label_{target}"].to_numpy(np.float64)
    models = [name for name in (CANDIDATE, BLESSED) if f"{OUTPUT}_{name}" in clicks]
    scores = {name: clicks[f"{OUTPUT}_{name}"].to_numpy() for name in models}
    samples = gates.samples if BLESSED in scores else 0

    def compared(by: str, name: str, chosen: np.ndarray) -> Part:
        scored = {model: Scored(user[chosen], label[chosen], score[chosen]) for model, score in scores.items()}
        values = resampled_together(hashed, scored, samples, seed)
        metrics = {
            model: {metric: _finite(resampled[0]) for metric, resampled in metrics.items()}
            for model, metrics in values.items()
        }
        worse = losses(values[CANDIDATE], values[BLESSED]) if BLESSED in values else {}
        finite = {metric: {end: _finite(value) for end, value in loss.items()} for metric, loss in worse.items()}
        return Part(by, name, int(chosen.sum()), int((label[chosen] > 0).sum()), metrics, finite)

    whole = compared("", "", np.ones(len(clicks), bool))
    against, unknown = _against(whole, gates, "gates")
    infinite = {model: int((~np.isfinite(score)).sum()) for model, score in scores.items()}
    reasons = [f"{whole}: {n:,} predictions of the {model} model are not finite" for model, n in infinite.items() if n]
    reasons += against + unknown  # On all clicks, a metric that can't be judged is a reason too.
    parts: list = []
    notes: list[str] = []
    for by in gates.slices.by:
        judged = [
            compared(by, part.name, part.chosen) for part in slice_by(clicks[by], label, gates.slices.min_positives)
        ]
        for part in judged:
            against, unknown = _against(part, gates.slices, "gates.slices")
            reasons, notes = reasons + against, notes + unknown
        positives = sum(part.positives for part in judged)
        notes.append(
            f"{by}: {len(judged):,} slices of at least {gates.slices.min_positives:,} positives hold {positives:,} of "
            f"{whole.positives:,} positives; the others are not judged"
        )
        parts += judged
    return Judgement(whole, parts, reasons, notes)


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _against(part: Part, limits: Limits, place: str) -> tuple[list[str], list[str]]:
    """Return reasons against the candidate, and notes on metrics that have limits but no value."""
    reasons, unknown, metrics = [], [], additive_metrics()
    for key, metric, low, high in _bounds(limits):
        value = part.metrics[CANDIDATE][metric]
        if value is None:
            unknown.append(f"{part}: {metric} has no value, it needs {metrics[metric].needs} ({place}.{key})")
        elif not low <= value <= high:
            limit = f"below {low:g}" if value < low else f"above {high:g}"
            reasons.append(f"{part}: {metric} {value:.4g} is {limit} ({place}.{key})")
    for metric, allowed in limits.allowed_loss.items() if part.losses else ():
        loss, key = part.losses[metric], f"{place}.allowed_loss.{metric}"
        if loss["difference"] is None:
            unknown.append(f"{part}: {metric} has no value, it needs {metrics[metric].needs} ({key})")
        elif loss["difference"] <= allowed:
            continue
        elif limits.significant and loss["low"] is None:
            unknown.append(f"{part}: {metric} may have lost by chance, {_NO_INTERVAL} ({key})")
        elif not limits.significant or (loss["low"] is not None and loss["low"] > allowed):
            candidate, blessed = (part.metrics[model][metric] for model in (CANDIDATE, BLESSED))
            interval = (
                f"95% interval {loss['low']:.4g} … {loss['high']:.4g}" if loss["low"] is not None else _NO_INTERVAL
            )
            reasons.append(
                f"{part}: {metric} {candidate:.4g} against the blessed model's {blessed:.4g} is worse by "
                f"{loss['difference']:.4g} ({interval}), more than the allowed "
                f"{allowed:g} ({key})"
            )
    return reasons, unknown


def _bounds(limits: Limits) -> Iterator[tuple[str, str, float, float]]:
    """Yield key, metric, least and largest value of each limit."""
    yield from ((f"floors.{metric}", metric, low, math.inf) for metric, low in limits.floors.items())
    yield from ((f"ceilings.{metric}", metric, -math.inf, high) for metric, high in limits.ceilings.items())
    if limits.pcoc:
        yield "pcoc", Pcoc.name, *limits.pcoc
