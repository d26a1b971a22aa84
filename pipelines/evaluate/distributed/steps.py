"""Steps of the evaluation job after the shuffles, which sum over shards of users and over ranges of predictions."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from features.arrays import codes, flat, stable_hash
from mal_tf.evaluation.by_range import Curve, RangeSums, Ranked
from mal_tf.evaluation.by_user import Group, UserSums, user_sums
from mal_tf.evaluation.metric import Metric, RatioMetric
from mal_tf.serving import OUTPUT
from pipelines.core.exchange import Exchange, Parcel
from pipelines.evaluate.distributed.earlier_clicks import with_past
from pipelines.evaluate.distributed.plan import EvaluationPlan
from pipelines.evaluate.distributed.score import CLICKS, PAST
from pipelines.evaluate.distributed.slices import Slices

#: Columns of a range's clicks, in addition to the labels.
_PREDICTION, _USER, _SLICES = "prediction", "user", "slices"


@dataclasses.dataclass(frozen=True)
class Scope:
    """Models, labels, slices and metrics of an evaluation.

    Sums are over groups of clicks: first all clicks, once with each label, then each slice with `slices.label`.

    Attributes:
        models: names of the models.
        labels: label columns.
        slices: how clicks are sliced.
        samples: number of resamples of the users.
        seed: seed of the resamples.
        bins: number of bins of calibration.
        metrics: the metrics, given here as fewer may be registered in the workers.
    """

    models: Sequence[str]
    labels: Sequence[str]
    slices: Slices
    samples: int
    seed: int
    bins: int
    metrics: Sequence[Metric]

    @property
    def ratios(self) -> list[RatioMetric]:
        """The metrics that are ratios of sums over users."""
        return [metric for metric in self.metrics if isinstance(metric, RatioMetric)]

    @property
    def sliced(self) -> int:
        """Index of the label that slices are measured with."""
        return self.labels.index(self.slices.label)

    def curve(self, model_sums: tuple[tuple[int, int], RangeSums], sizes: np.ndarray) -> tuple[int, Curve]:
        """Return a model's number, and the calibration curve from its sums over all ranges."""
        (model, _), sums = model_sums
        return model, sums.curve(len(self.labels), int(sizes[model, :, 0].sum()))


class Users(beam.DoFn):
    """Maps a shard of users, with their clicks and their past, to parcels of clicks by (model, range).

    Additional outputs: `sums`, `UserSums` of all groups; `sizes`, int64 [models, ranges, 1 + slices], the number of clicks in
    each range, of all clicks and of each slice; `positives`, int64 [slices, labels], positives among each slice's own clicks;
    `shards`, parcels of users, labels and predictions.
    """

    def __init__(self, scope: Scope, exchange: Exchange):
        self._scope, self._exchange = scope, exchange

    def process(self, element: tuple[int, Iterable[tuple[str, Parcel]]], plan: EvaluationPlan) -> Iterator[Any]:
        """Sum over one shard."""
        scope = self._scope
        by_kind: dict[str, list] = {CLICKS: [], PAST: []}
        for kind, parcel in element[1]:
            by_kind[kind].append(Exchange.unpack(parcel))
        if not by_kind[CLICKS]:
            return
        clicks = pa.concat_tables(by_kind[CLICKS]).combine_chunks()
        # Sorted by everything that is summed, as bundles come in any order and floating-point sums depend on it.
        columns = [*scope.labels, *(f"{OUTPUT}_{name}" for name in scope.models)]
        clicks = clicks.sort_by([(name, "ascending") for name in ("user_id", *columns)]).combine_chunks()
        labels = [clicks[name].to_numpy().astype(np.float64) for name in scope.labels]
        predictions = [clicks[f"{OUTPUT}_{name}"].to_numpy() for name in scope.models]
        hashed = stable_hash(flat(clicks["user_id"]))
        (user,) = codes(flat(clicks["user_id"]))
        sliced = with_past(clicks.to_pandas(), by_kind[PAST])
        rows, number, own = scope.slices.members(sliced, plan.newest, plan.slices, plan.bounds)
        slices = len(plan.slices)
        yield TaggedOutput("sums", self._sums(user, hashed, labels, predictions, (rows, number, slices)))
        positives = [np.bincount(number[own], label[rows[own]] > 0, slices) for label in labels]
        yield TaggedOutput("positives", np.column_stack(positives).astype(np.int64))
        user_rows = pa.table([user, *labels, *predictions], [_USER, *columns])
        yield from (TaggedOutput("shards", parcel) for parcel in self._exchange.pack([user_rows]))

        bounds = np.searchsorted(rows, np.arange(user.size + 1)).astype(np.int32)
        members = pa.ListArray.from_arrays(bounds, number.astype(np.int32))
        table = pa.table([hashed, members, *labels], [_USER, _SLICES, *scope.labels])
        sizes = np.zeros((len(scope.models), max(map(len, plan.ranges)), 1 + slices), np.int64)
        for model, prediction in enumerate(predictions):
            place, ranges = plan.range_of(model, prediction), len(plan.ranges[model])
            sizes[model, :ranges, 0] = np.bincount(place, minlength=ranges)
            np.add.at(sizes[model], (place[rows], 1 + number), 1)
            model_rows = table.append_column(_PREDICTION, pa.array(prediction))
            for part, parcel in self._exchange.partition(model_rows, place, ranges):
                yield (model, part), parcel
        yield TaggedOutput("sizes", sizes)

    def _sums(
        self,
        user: np.ndarray,
        hashed: np.ndarray,
        labels: Sequence[np.ndarray],
        predictions: Sequence[np.ndarray],
        sliced: tuple[np.ndarray, np.ndarray, int],
    ) -> UserSums:
        _, first = np.unique(user, return_index=True)
        scope, (rows, number, slices) = self._scope, sliced
        groups = [Group(user, label, predictions) for label in labels]
        label, by_slice = labels[scope.sliced], np.argsort(number, kind="stable")
        for slice_rows in (
            np.split(rows[by_slice], np.searchsorted(number[by_slice], np.arange(1, slices))) if slices else ()
        ):
            groups.append(
                Group(user[slice_rows], label[slice_rows], [prediction[slice_rows] for prediction in predictions])
            )
        return user_sums(groups, hashed[first], scope.ratios, scope.samples, scope.seed)


class Ranges(beam.DoFn):
    """Maps a model's clicks in one range of predictions to ((model, range), sums of all groups)."""

    def __init__(self, scope: Scope):
        self._scope = scope

    def process(
        self, element: tuple[tuple[int, int], Iterable[Parcel]], plan: EvaluationPlan, sizes: np.ndarray
    ) -> Iterator[tuple[tuple[int, int], RangeSums]]:
        """Sum over one range."""
        scope, ((model, number), parcels) = self._scope, element
        clicks = pa.concat_tables(map(Exchange.unpack, parcels)).combine_chunks()
        # Sorted by everything that is summed, as parcels come in any order and floating-point sums depend on it.
        clicks = clicks.sort_by([(name, "ascending") for name in (_PREDICTION, _USER, *scope.labels)]).combine_chunks()
        prediction, user = clicks[_PREDICTION].to_numpy(), clicks[_USER].to_numpy()
        labels, members = [clicks[name].to_numpy() for name in scope.labels], flat(clicks[_SLICES])
        everything = np.arange(prediction.size)
        rows = np.repeat(everything, np.diff(members.offsets.to_numpy()))
        group, slices = members.flatten().to_numpy().astype(np.int64), len(plan.slices)
        groups = [(everything, label) for label in labels]
        label, by_slice = labels[scope.sliced], np.argsort(group, kind="stable")
        for slice_rows in (
            np.split(rows[by_slice], np.searchsorted(group[by_slice], np.arange(1, slices))) if slices else ()
        ):
            groups.append((slice_rows, label[slice_rows]))
        before, total = sizes[model, :number].sum(axis=0), sizes[model].sum(axis=0)
        before, total = (np.append(np.repeat(sums[0], len(labels)), sums[1:]) for sums in (before, total))
        distinct, code = np.unique(user, return_inverse=True)
        ranked = Ranked(code, distinct, prediction, groups)
        yield (model, number), ranked.sums(before, total, scope.bins, scope.samples, scope.seed)


class Calibrate(beam.DoFn):
    """Maps a shard of users, as output by `Users`, to `Curve.excess` [models, labels, 2, bins], given each model's curve."""

    def __init__(self, scope: Scope):
        self._scope = scope

    def process(self, parcel: Parcel, curves: Mapping[int, Curve]) -> Iterator[np.ndarray]:
        """Sum over one shard."""
        scope, clicks = self._scope, Exchange.unpack(parcel)
        user, labels = clicks[_USER].to_numpy(), [clicks[name].to_numpy() for name in scope.labels]
        predictions = [clicks[f"{OUTPUT}_{name}"].to_numpy() for name in scope.models]
        yield np.stack(
            [curves[number].excess(user, labels, prediction) for number, prediction in enumerate(predictions)]
        )


def combine(parts: Iterable[tuple[int, RangeSums]]) -> RangeSums:
    """Combine the sums over numbered neighbouring ranges."""
    return functools.reduce(RangeSums.followed_by, (part for _, part in sorted(parts, key=lambda part: part[0])))
