"""The last step of the evaluation job, which turns sums into `metrics.json` and writes the manifest."""

import dataclasses
import itertools
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from apache_beam.io.filesystems import FileSystems

from mal_tf.evaluation import by_user, exact
from mal_tf.evaluation.bootstrap import too_few
from mal_tf.evaluation.by_range import Curve, RangeSums
from mal_tf.evaluation.by_user import UserSums
from mal_tf.evaluation.judgement import Resampled
from mal_tf.evaluation.metrics import Auc, CalibrationError
from pipelines.config.evaluation import PATH_LENGTH
from pipelines.core import manifest
from pipelines.evaluate import results
from pipelines.evaluate.distributed.plan import EvaluationPlan
from pipelines.evaluate.distributed.steps import Scope
from pipelines.evaluate.evaluate import METRICS


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over all clicks, for each group of clicks (see `Scope`).

    Attributes:
        scope: what is evaluated.
        users: sums over users.
        positives: int64 [slices, labels], positives among each slice's own clicks.
        ranges: sums over ranges of predictions, by model.
        curves: calibration curve, by model.
        excess: [models, labels, 2, bins], see `Curve.excess`.
    """

    scope: Scope
    users: UserSums
    positives: np.ndarray
    ranges: Mapping[int, RangeSums]
    curves: Mapping[int, Curve]
    excess: np.ndarray

    def count(self, group: int, column: int) -> int:
        """Return the number of clicks, positives or users of a group, by their column in `UserSums`."""
        return int(exact.number(self.users.whole[group, column]))

    def resampled(self, model: int, group: int) -> Resampled:
        """Return each metric's value and resamples, in the format of `mal_tf.evaluation.bootstrap.resampled`."""
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
        """Return the metrics, in the format of `mal_tf.evaluation.metrics.metrics_or_nan`; NaN for non-additive metrics."""
        whole = {name: values[0] for name, values in self.resampled(model, group).items()}
        clicks = self.count(group, by_user.CLICKS)
        bin_errors = [abs(exact.number(sum_)) for sum_ in np.subtract(*self.ranges[model].bins[:, group])]
        whole[CalibrationError.name] = sum(bin_errors) / clicks if clicks else float("nan")
        return {
            "clicks": clicks,
            "positives": self.count(group, by_user.POSITIVES),
            **{metric.name: whole.get(metric.name, float("nan")) for metric in self.scope.metrics},
            "gauc_users": self.count(group, by_user.BOTH_USERS),
        }


@dataclasses.dataclass(frozen=True)
class Finish:
    """Completes the output. It may run more than once, as Beam runners retry steps.

    Attributes:
        output: directory to write to.
        scope: what is evaluated.
        targets: mechanism of each label.
        served: the model that others are compared with.
        split: the split whose clicks are evaluated.
        entries: the manifest's entries that were known before the job.
        exchange: local directory of the job's temporary files, which is deleted.
    """

    output: str
    scope: Scope
    targets: Sequence[str]
    served: str
    split: str
    entries: Mapping[str, Any]
    exchange: str | None = None

    def __call__(self, _: None, plan: EvaluationPlan, *totals: Any) -> None:
        """Write `metrics.json` and the manifest. `totals` are the arguments of `Totals` after the scope."""
        result = results.write(FileSystems.join(self.output, METRICS), self.result(plan, Totals(self.scope, *totals)))
        if self.exchange is not None:
            shutil.rmtree(self.exchange, ignore_errors=True)
        headline = {key: result[key] for key in ("target", "split", "served", "models", "differences")}
        produced = {"result": headline, "files": manifest.describe(self.output, [METRICS])}
        manifest.finish(self.output, {**self.entries, **produced})

    def result(self, plan: EvaluationPlan, totals: Totals) -> dict[str, Any]:
        """Return the content of `metrics.json`."""
        scope, primary = self.scope, self.targets[self.scope.sliced]
        labels = {name: self._compared(totals, group) for group, name in enumerate(self.targets)}
        kinds = [self._slices(plan, totals, by) for by in scope.slices.by]
        for (group, entry), (model, name) in itertools.product(enumerate(labels.values()), enumerate(scope.models)):
            entry.setdefault("calibration", {})[name] = totals.curves[model].points(group, totals.excess[model])
        return results.result(primary, self.split, self.served, labels, kinds, scope.samples, scope.seed)

    def _compared(self, totals: Totals, group: int, undefined: Sequence[str] = ()) -> dict[str, Any]:
        """Return metrics, intervals and differences of a group. The metrics in `undefined` are NaN."""
        samples, metrics_by_model, drawn = self.scope.samples, {}, {}
        for model, name in enumerate(self.scope.models):
            metrics_by_model[name] = totals.metrics(model, group) | dict.fromkeys(undefined, np.nan)
            drawn[name] = totals.resampled(model, group)
            drawn[name] |= {metric: np.full(1 + samples, np.nan) for metric in undefined if metric in drawn[name]}
        return {"models": metrics_by_model} | (
            results.compared(drawn, self.served) if samples else {"intervals": {}, "differences": {}}
        )

    def _slices(self, plan: EvaluationPlan, totals: Totals, by: str) -> list[dict[str, Any]]:
        """Return the entries of the slices of a kind, in the order of the report."""
        slices, growth = self.scope.slices, self.scope.slices.config.growth
        numbers = [number for number, (kind, _) in enumerate(plan.slices) if kind == by]
        clicks, positives = (
            np.array([totals.count(len(self.targets) + number, column) for number in numbers], np.int64)
            for column in (by_user.CLICKS, by_user.POSITIVES)
        )
        undefined, entries = results.non_ranking(self.scope.metrics) if by == PATH_LENGTH else (), []
        for place in slices.reported(by, clicks, positives, [plan.slices[number][1] for number in numbers]):
            number = numbers[place]
            group = len(self.targets) + number
            by_target = dict(zip(self.targets, totals.positives[number].tolist(), strict=True))
            narrower = by_target.get(growth.narrower)
            ratio = by_target[growth.wider] / narrower if narrower and growth.wider in by_target else None
            users = totals.count(group, by_user.USERS)
            entries.append(
                results.slice_entry(*plan.slices[number], users, ratio, self._compared(totals, group, undefined))
            )
        return entries
