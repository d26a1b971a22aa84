"""Last step of the evaluation job: sums to `metrics.json`, and the manifest, by the pipeline itself."""

import dataclasses
import itertools
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from apache_beam.io.filesystems import FileSystems

from features.errors import MalTfError
from mal_tf.evaluation import by_user, exact
from mal_tf.evaluation.bootstrap import too_few
from mal_tf.evaluation.by_range import Curve, RangeSums
from mal_tf.evaluation.by_user import UserSums
from mal_tf.evaluation.judgement import Resampled
from mal_tf.evaluation.metrics import Auc, CalibrationError, Gauc
from pipelines.config.evaluation import PATH_LENGTH
from pipelines.core import files, manifest
from pipelines.evaluate import results
from pipelines.evaluate.distributed.plan import EvaluationPlan
from pipelines.evaluate.distributed.steps import Scope
from pipelines.evaluate.evaluate import METRICS


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over all clicks; groups as in `Scope`.

    Attributes:
        scope: what is evaluated.
        users: sums over users.
        positives: int64 [slices, labels], of the slices' own clicks.
        ranges: by model, sums over ranges.
        curves: by model, calibration curve.
        excess: [models, labels, 2, bins], see `Curve.excess`.
    """

    scope: Scope
    users: UserSums
    positives: np.ndarray
    ranges: Mapping[int, RangeSums]
    curves: Mapping[int, Curve]
    excess: np.ndarray

    def count(self, group: int, column: int) -> int:
        """Clicks, positives or users of a group, by their column in `UserSums`."""
        return int(exact.number(self.users.whole[group, column]))

    def resampled(self, model: int, group: int) -> Resampled:
        """As `mal_tf.evaluation.bootstrap.resampled` gives it."""
        metrics = self.scope.ratios
        ratios = self.users.ratios(group)[model * len(metrics) : (model + 1) * len(metrics)]
        by_name = {metric.name: values for metric, values in zip(metrics, ratios, strict=True)}
        by_name[Auc.name] = self.ranges[model].auc()[group]
        counts = [self.count(group, column) for column in (by_user.USERS, by_user.POSITIVE_USERS, by_user.BOTH_USERS)]
        for metric in self.scope.metrics:
            if metric.name in by_name and too_few(metric, *counts):
                by_name[metric.name][1:] = np.nan
        return {metric.name: by_name[metric.name] for metric in self.scope.metrics if metric.name in by_name}

    def metrics(self, model: int, group: int) -> dict[str, float]:
        """As `mal_tf.evaluation.metrics.metrics_or_nan` gives them; NaN for a metric that does not add up."""
        whole = {name: values[0] for name, values in self.resampled(model, group).items()}
        clicks = self.count(group, by_user.CLICKS)
        apart = [abs(exact.number(sum_)) for sum_ in np.subtract(*self.ranges[model].bins[:, group])]
        whole[CalibrationError.name] = sum(apart) / clicks if clicks else float("nan")
        return {
            "clicks": clicks,
            "positives": self.count(group, by_user.POSITIVES),
            **{metric.name: whole.get(metric.name, float("nan")) for metric in self.scope.metrics},
            "gauc_users": self.count(group, by_user.BOTH_USERS),
        }


@dataclasses.dataclass(frozen=True)
class Finish:
    """Makes the output complete. May be repeated, as runners repeat what they lost the answer of.

    Attributes:
        output: directory.
        scope: what is evaluated.
        targets: mechanism of each label.
        served: the model that others are compared with.
        split: whose clicks.
        known: the manifest's entries that were known before the job.
        exchange: local directory of the job's own, to be taken away.
    """

    output: str
    scope: Scope
    targets: Sequence[str]
    served: str
    split: str
    known: Mapping[str, Any]
    exchange: str | None = None

    def __call__(self, _: None, plan: EvaluationPlan, *totals: Any) -> None:
        """Finishes; `totals` as `Totals` takes them after the scope.

        Raises:
            MalTfError: under the primary target's label there is one class only, or no user has both.
        """
        result = results.write(FileSystems.join(self.output, METRICS), self.result(plan, Totals(self.scope, *totals)))
        if self.exchange is not None:
            shutil.rmtree(self.exchange, ignore_errors=True)
        there = files.listing(self.output)
        headline = {key: result[key] for key in ("target", "split", "served", "models", "differences")}
        made = {"result": headline, "files": [{"path": METRICS, "bytes": there[METRICS]}]}
        manifest.finish(self.output, {**self.known, **made})

    def result(self, plan: EvaluationPlan, totals: Totals) -> dict[str, Any]:
        """What `metrics.json` holds."""
        scope, primary = self.scope, self.targets[self.scope.sliced]
        self._check(totals, primary)
        labels = {name: self._compared(totals, group) for group, name in enumerate(self.targets)}
        kinds = [self._slices(plan, totals, by) for by in scope.slices.by]
        for (group, of), (model, name) in itertools.product(enumerate(labels.values()), enumerate(scope.models)):
            of.setdefault("calibration", {})[name] = totals.curves[model].points(group, totals.excess[model])
        return results.result(primary, self.split, self.served, labels, kinds, scope.samples, scope.seed)

    def _check(self, totals: Totals, primary: str) -> None:
        values = totals.metrics(0, self.scope.sliced)
        for metric in (Auc, Gauc):  # As the local engine does: any other metric may be NaN.
            if np.isnan(values[metric.name]):
                raise MalTfError(
                    f"{self.split} split, label_{primary}: {metric.title} needs {metric.needs}, found {values['positives']:,} "
                    f"positives among {values['clicks']:,} clicks; evaluate on more data or another target"
                )

    def _compared(self, totals: Totals, group: int, without: Sequence[str] = ()) -> dict[str, Any]:
        """Metrics, their intervals and differences of a group; NaN for those `without`."""
        samples, found, drawn = self.scope.samples, {}, {}
        for model, name in enumerate(self.scope.models):
            found[name] = totals.metrics(model, group) | dict.fromkeys(without, np.nan)
            drawn[name] = totals.resampled(model, group)
            drawn[name] |= {metric: np.full(1 + samples, np.nan) for metric in without if metric in drawn[name]}
        return {"models": found} | (
            results.compared(drawn, self.served) if samples else {"intervals": {}, "differences": {}}
        )

    def _slices(self, plan: EvaluationPlan, totals: Totals, by: str) -> list[dict[str, Any]]:
        """The slices of a kind, in the order of the report."""
        slices, growth = self.scope.slices, self.scope.slices.config.growth
        numbers = [number for number, (kind, _) in enumerate(plan.slices) if kind == by]
        clicks, positives = (
            np.array([totals.count(len(self.targets) + number, column) for number in numbers], np.int64)
            for column in (by_user.CLICKS, by_user.POSITIVES)
        )
        without, made = results.not_of_rank(self.scope.metrics) if by == PATH_LENGTH else (), []
        for place in slices.reported(by, clicks, positives, [plan.slices[number][1] for number in numbers]):
            number = numbers[place]
            group = len(self.targets) + number
            by_target = dict(zip(self.targets, totals.positives[number].tolist(), strict=True))
            narrower = by_target.get(growth.narrower)
            grown = by_target[growth.wider] / narrower if narrower and growth.wider in by_target else None
            users = totals.count(group, by_user.USERS)
            made.append(results.slice_entry(*plan.slices[number], users, grown, self._compared(totals, group, without)))
        return made
