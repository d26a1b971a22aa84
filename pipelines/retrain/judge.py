"""Gates: a candidate is compared with the model that serves, on the same clicks."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic

from features.errors import MalTfError
from features.frozen import Frozen, Range, as_tuple
from features.spec import FeatureSpec
from mal_tf.evaluation.bootstrap import MIN_USERS, Scored, resampled_together
from mal_tf.evaluation.judgement import losses
from mal_tf.evaluation.metrics import HIGHER, LOWER, Auc, Pcoc, additive_metrics
from mal_tf.serving.export import OUTPUT
from pipelines.config.evaluation import PATH_LENGTH
from pipelines.evaluate import users
from pipelines.evaluate.slices import slice_by

#: Names of the two models; their predictions are in columns `cvr_<name>`.
CANDIDATE, BLESSED = "candidate", "blessed"

_NO_INTERVAL = f"no interval as less than {MIN_USERS} users carry it"


def _check_names(limits: dict[str, float], but: str = "") -> dict[str, float]:
    """Checks that limits are of metrics with intervals, whose better direction is not `but`, and that they can be met."""
    metrics = {name: metric for name, metric in additive_metrics().items() if metric.better != but}
    for name, limit in limits.items():
        if name not in metrics:
            raise ValueError(f"expected metrics among {', '.join(metrics)}, found '{name}'")
        low, high = metrics[name].limits
        if not low <= limit <= high:
            raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, found {limit:g}")
    return limits


#: Limits by the name of a metric.
Floors = Annotated[dict[str, float], pydantic.AfterValidator(lambda limits: _check_names(limits, LOWER))]
Ceilings = Annotated[dict[str, float], pydantic.AfterValidator(lambda limits: _check_names(limits, HIGHER))]
Losses = Annotated[dict[str, pydantic.NonNegativeFloat], pydantic.AfterValidator(_check_names)]


class Limits(Frozen):
    """What a candidate must hold.

    Attributes:
        floors: least values, by metric, such as `auc` and `gauc`; not of those that are better lower.
        ceilings: largest values, by metric, such as `log_loss`; not of those that are better higher.
        pcoc: least and largest PCOC.
        allowed_loss: by how much each metric may be worse than the blessed model's: AUC and GAUC lower, log-loss higher,
            |PCOC − 1| higher.
        significant: refuse for a loss only if its 95% bootstrap interval lies above the allowed one too; otherwise the
            loss on the clicks as they are decides.
    """

    floors: Floors = {}
    ceilings: Ceilings = {}
    pcoc: Range | None = None
    allowed_loss: Losses = {}
    significant: bool = False


class SliceLimits(Limits):
    """What a candidate must hold on each slice of enough positives.

    Attributes:
        by: categorical features, or `path_length` (of the positives; with all negatives).
        min_positives: slices of fewer are not judged.
        significant: see `Limits`; here it is the default, as of many slices some lose by chance.
    """

    by: tuple[str, ...] = ()
    min_positives: int = pydantic.Field(100, ge=1)
    significant: bool = True

    _as_tuple = pydantic.field_validator("by", mode="before")(as_tuple)

    def features(self, spec: FeatureSpec) -> tuple[str, ...]:
        """The features that slices are by.

        Raises:
            MalTfError: one is not a categorical feature.
        """
        categorical = [feature.name for feature in spec.categorical]
        wanted = tuple(name for name in self.by if name != PATH_LENGTH)
        if unknown := [name for name in wanted if name not in categorical]:
            raise MalTfError(
                f"gates.slices.by: '{unknown[0]}' is neither {PATH_LENGTH} nor a categorical feature; there are: "
                + ", ".join(categorical)
            )
        return wanted


class GatesConfig(Limits):
    """What a candidate must hold on all clicks and on slices.

    Attributes:
        floors: see `Limits`; by default better than chance.
        pcoc: see `Limits`; by default within a factor of 2.
        allowed_loss: see `Limits`.
        slices: of each slice.
        samples: resamplings of users for the intervals.
    """

    floors: Floors = {Auc.name: 0.5}
    pcoc: Range | None = (0.5, 2.0)
    allowed_loss: Losses = {Auc.name: 0.01}
    slices: SliceLimits = SliceLimits()
    samples: int = pydantic.Field(200, ge=1)


@dataclasses.dataclass(frozen=True)
class Part:
    """Both models on a part of the clicks; None where a metric has no value.

    Attributes:
        by: what it is a slice by; empty for all clicks.
        name: which slice.
        clicks: how many.
        positives: how many of them.
        metrics: by model and metric.
        losses: by metric, `difference`: how much worse the candidate is (see `Limits.allowed_loss`), with its 95% interval
            `low`, `high`; empty without a blessed model.
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
        all: both models on all clicks.
        slices: on each slice of enough positives.
        reasons: against the candidate; none if it passes.
        notes: on what could not be judged.
    """

    all: Part
    slices: list[Part]
    reasons: list[str]
    notes: list[str]


def judge(clicks: pd.DataFrame, target: str, gates: GatesConfig, seed: int) -> Judgement:
    """Judges a candidate, beside the blessed model where there is one.

    Args:
        clicks: as `pipelines.clicks.scoring.score` gives them: `user_id`, `label_<target>`, `cvr_candidate`,
            `cvr_blessed` (not there on a first run: floors, ceilings and PCOC alone are judged), and what slices are by.
        target: mechanism whose label is the truth.
        gates: what must hold.
        seed: of the resamples.
    """
    user, hashed = users.coded(clicks["user_id"])
    label = clicks[f"label_{target}"].to_numpy(np.float64)
    models = [name for name in (CANDIDATE, BLESSED) if f"{OUTPUT}_{name}" in clicks]
    scores = {name: clicks[f"{OUTPUT}_{name}"].to_numpy() for name in models}
    samples = gates.samples if BLESSED in scores else 0

    def compared(by: str, name: str, chosen: np.ndarray) -> Part:
        some = {model: Scored(user[chosen], label[chosen], score[chosen]) for model, score in scores.items()}
        values = resampled_together(hashed, some, samples, seed)
        metrics = {model: {metric: _finite(of[0]) for metric, of in one.items()} for model, one in values.items()}
        worse = losses(values[CANDIDATE], values[BLESSED]) if BLESSED in values else {}
        finite = {metric: {end: _finite(value) for end, value in loss.items()} for metric, loss in worse.items()}
        return Part(by, name, int(chosen.sum()), int((label[chosen] > 0).sum()), metrics, finite)

    whole = compared("", "", np.ones(len(clicks), bool))
    against, unknown = _against(whole, gates, "gates")
    infinite = {model: int((~np.isfinite(score)).sum()) for model, score in scores.items()}
    reasons = [f"{whole}: {n:,} predictions of the {model} model are not finite" for model, n in infinite.items() if n]
    reasons += against + unknown  # On all clicks, what can't be judged is a reason too.
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
    """Reasons against the candidate, and what has limits but no value."""
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
            ours, theirs = (part.metrics[model][metric] for model in (CANDIDATE, BLESSED))
            interval = (
                f"95% interval {loss['low']:.4g} … {loss['high']:.4g}" if loss["low"] is not None else _NO_INTERVAL
            )
            reasons.append(
                f"{part}: {metric} {ours:.4g} against the blessed model's {theirs:.4g} is worse by "
                f"{loss['difference']:.4g} ({interval}), more than the allowed "
                f"{allowed:g} ({key})"
            )
    return reasons, unknown


def _bounds(limits: Limits) -> Iterator[tuple[str, str, float, float]]:
    """Key, metric, least and largest value."""
    yield from ((f"floors.{metric}", metric, low, math.inf) for metric, low in limits.floors.items())
    yield from ((f"ceilings.{metric}", metric, -math.inf, high) for metric, high in limits.ceilings.items())
    if limits.pcoc:
        yield "pcoc", Pcoc.name, *limits.pcoc
