"""Measures distances between the feature distributions of two sets of clicks, with TFDV's drift comparators."""

from collections.abc import Iterator

import pydantic
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList, FeatureNameStatistics

from features.errors import MalTfError
from features.frozen import Frozen
from features.spec import FeatureSpec
from pipelines.retrain.measurement import Measurement

#: TFDV's types of distances, and their names in measurements.
_DISTANCES = anomalies_pb2.DriftSkewInfo.Measurement
_NAMES = {_DISTANCES.L_INFTY: "L-infinity distance", _DISTANCES.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon divergence"}

_TYPE = FeatureNameStatistics.Type

_Distance = pydantic.NonNegativeFloat | None


class FeatureLimits(Frozen):
    """Largest distances between the distributions of a feature in two sets of clicks; null for no limit.

    Attributes:
        l_infinity: for tokens, the largest difference of a token's share of all tokens.
        new_tokens: for tokens, the share of tokens that the other clicks lack, among the 1,000 most frequent of both.
        jensen_shannon: for numbers, including int64 tokens, the Jensen-Shannon divergence of their histograms.
        presence: difference of the share of clicks that have the feature.
    """

    l_infinity: _Distance = 0.1
    new_tokens: _Distance = 0.5
    jensen_shannon: _Distance = 0.1
    presence: _Distance = 0.1


class DistanceLimits(FeatureLimits):
    """Largest distances between the distributions of features in two sets of clicks.

    Attributes:
        l_infinity: see `FeatureLimits`.
        new_tokens: see `FeatureLimits`.
        jensen_shannon: see `FeatureLimits`.
        presence: see `FeatureLimits`.
        features: limits of single features, by name, where they differ; null for no limit.
    """

    features: dict[str, FeatureLimits | None] = {}

    def for_feature(self, name: str) -> FeatureLimits:
        """Return the limits of the feature called `name`."""
        own = self.features.get(name, FeatureLimits())
        if own is None:
            return FeatureLimits(**dict.fromkeys(FeatureLimits.model_fields))
        return FeatureLimits(**self.model_dump(exclude={"features"}) | own.model_dump(exclude_unset=True))

    def check(self, spec: FeatureSpec, key: str) -> None:
        """Check that the features exist.

        Raises:
            MalTfError: a feature does not exist.
        """
        names = [feature.name for feature in spec.features]
        if unknown := [name for name in self.features if name not in names]:
            raise MalTfError(f"{key}.features: unknown feature '{unknown[0]}'; there are: {', '.join(names)}")


def distances(
    statistics: DatasetFeatureStatisticsList,
    control: DatasetFeatureStatisticsList,
    spec: FeatureSpec,
    limits: DistanceLimits,
    where: str,
) -> Iterator[Measurement]:
    """Measure the distances of all features.

    Args:
        statistics: statistics of the clicks. Without clicks, nothing is measured.
        control: statistics of the clicks to compare with.
        spec: the features.
        limits: limits of the distances.
        where: description of the two sets of clicks, for messages.
    """
    here, there = _by_name(statistics), _by_name(control)
    clicks, others = (one.datasets[0].num_examples for one in (statistics, control))
    if not clicks:
        return
    if not others:
        yield Measurement(where, "all features", "clicks to compare with", 0, 1)
        return
    schema = schema_pb2.Schema()
    for name in (feature.name for feature in spec.features):
        own, sides = limits.for_feature(name), [here.get(name), there.get(name)]
        shares = [_present(side) / count for side, count in zip(sides, (clicks, others), strict=True)]
        measure = "difference of the share of clicks that have it"
        yield Measurement(where, name, measure, abs(shares[0] - shares[1]), 0, own.presence)
        if min(shares) == 0:
            continue
        types = [side.type for side in sides if side is not None]  # Neither is None, as then a share would be 0.
        tokens = [kind == _TYPE.STRING for kind in types]
        if tokens[0] != tokens[1]:  # TFDV would compare them without a warning, or not at all.
            named = " against ".join(map(_TYPE.Name, types))
            yield Measurement(where, name, f"agreement of types, {named}", 0, 1)
            continue
        if tokens[0]:
            yield Measurement(
                where, name, "share of tokens that are new", _share_of_new_tokens(*sides), 0, own.new_tokens
            )
        _compare(schema.feature.add(name=name), sides[0], own)
    from pipelines.validate.tfdv import tfdv

    anomalies = tfdv.validate_statistics(statistics, schema, previous_statistics=control)
    for info in anomalies.drift_skew_info:
        (name,) = info.path.step
        for measured in info.drift_measurements:
            yield Measurement(where, name, _NAMES[measured.type], measured.value, 0, measured.threshold)


def _by_name(statistics: DatasetFeatureStatisticsList) -> dict[str, FeatureNameStatistics]:
    return {"".join(feature.path.step): feature for feature in statistics.datasets[0].features}


def _present(feature: FeatureNameStatistics | None) -> int:
    """Return the number of clicks that have a feature."""
    if feature is None:
        return 0
    return getattr(feature, feature.WhichOneof("stats")).common_stats.num_non_missing


def _share_of_new_tokens(statistics: FeatureNameStatistics, control: FeatureNameStatistics) -> float:
    """Return the share of the most frequent tokens in `statistics` that are not among those in `control`."""
    labels = {bucket.label for bucket in control.string_stats.rank_histogram.buckets}
    counts = [
        (bucket.sample_count, bucket.label in labels) for bucket in statistics.string_stats.rank_histogram.buckets
    ]
    return sum(count for count, old in counts if not old) / sum(count for count, _ in counts)


def _compare(feature: schema_pb2.Feature, statistics: FeatureNameStatistics, limits: FeatureLimits) -> None:
    """Set a feature's type and its drift comparator in the schema."""
    tokens = statistics.type == _TYPE.STRING
    feature.type = (
        schema_pb2.BYTES if tokens else schema_pb2.FLOAT if statistics.type == _TYPE.FLOAT else schema_pb2.INT
    )
    limit = limits.l_infinity if tokens else limits.jensen_shannon
    if limit is not None:
        comparator = feature.drift_comparator
        (comparator.infinity_norm if tokens else comparator.jensen_shannon_divergence).threshold = limit
