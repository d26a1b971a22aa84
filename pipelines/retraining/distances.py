"""How far the features of some clicks are from those of others, by TFDV's comparators on their statistics."""

from collections.abc import Iterator

import pydantic
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList, FeatureNameStatistics

from features.errors import MalTfError
from features.frozen import Frozen
from features.spec import FeatureSpec
from pipelines.retraining.measurement import Measurement
from pipelines.validation.tfdv import tfdv

#: What TFDV calls the types of a distance.
_DISTANCES = anomalies_pb2.DriftSkewInfo.Measurement
_NAMES = {_DISTANCES.L_INFTY: "L-infinity distance", _DISTANCES.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon divergence"}

_TYPE = FeatureNameStatistics.Type

_Distance = pydantic.NonNegativeFloat | None


class DistanceLimits(Frozen):
    """Largest distances between the features of some clicks and of others; null for any.

    Attributes:
        l_infinity: of tokens: difference of one token's share of all tokens.
        jensen_shannon: of numbers, int64 tokens among them: Jensen-Shannon divergence of their histograms.
        presence: difference of the share of clicks that have the feature.
        features: by feature, in the place of all these.
    """

    l_infinity: _Distance = 0.1
    jensen_shannon: _Distance = 0.1
    presence: _Distance = 0.1
    features: dict[str, _Distance] = {}

    def check(self, spec: FeatureSpec, key: str) -> None:
        """Checks that the features are known.

        Raises:
            MalTfError: one is not.
        """
        known = [feature.name for feature in spec.features]
        if unknown := [name for name in self.features if name not in known]:
            raise MalTfError(f"{key}.features: unknown feature '{unknown[0]}'; there are: {', '.join(known)}")


def distances(
    statistics: DatasetFeatureStatisticsList,
    control: DatasetFeatureStatisticsList,
    spec: FeatureSpec,
    limits: DistanceLimits,
    where: str,
) -> Iterator[Measurement]:
    """Distances of all features.

    Args:
        statistics: of the clicks; nothing is measured where there are none.
        control: of the others.
        spec: features.
        limits: of the distances.
        where: what the two are.
    """
    here, there = _by_name(statistics), _by_name(control)
    clicks, others = (one.datasets[0].num_examples for one in (statistics, control))
    if not clicks:
        return
    yield Measurement(where, "all features", "clicks to compare with", others, 1)
    schema = schema_pb2.Schema()
    for name in (feature.name for feature in spec.features) if others else ():
        shares = [_present(side.get(name)) / of for side, of in ((here, clicks), (there, others))]
        high = limits.features.get(name, limits.presence)
        yield Measurement(
            where, name, "difference of the share of clicks that have it", abs(shares[0] - shares[1]), 0, high
        )
        if min(shares) > 0:
            types = [_TYPE.Name(side[name].type) for side in (here, there)]
            agree = types[0] == types[1] or "STRING" not in types  # TFDV says nothing of tokens against numbers.
            yield Measurement(where, name, f"agreement of the types {' and '.join(types)}", int(agree), 1)
            _compare(schema.feature.add(name=name), here[name], limits)
    found = tfdv.validate_statistics(statistics, schema, previous_statistics=control)
    for info in found.drift_skew_info:
        (name,) = info.path.step
        for measured in info.drift_measurements:
            yield Measurement(where, name, _NAMES[measured.type], measured.value, 0, measured.threshold)


def _by_name(statistics: DatasetFeatureStatisticsList) -> dict[str, FeatureNameStatistics]:
    return {"".join(feature.path.step): feature for feature in statistics.datasets[0].features}


def _present(feature: FeatureNameStatistics | None) -> int:
    """Clicks that have a feature."""
    if feature is None:
        return 0
    return getattr(feature, feature.WhichOneof("stats")).common_stats.num_non_missing


def _compare(feature: schema_pb2.Feature, found: FeatureNameStatistics, limits: DistanceLimits) -> None:
    """Sets a feature's type and comparator."""
    tokens = found.type == _TYPE.STRING
    feature.type = schema_pb2.BYTES if tokens else schema_pb2.FLOAT if found.type == _TYPE.FLOAT else schema_pb2.INT
    limit = limits.features.get(feature.name, limits.l_infinity if tokens else limits.jensen_shannon)
    if limit is not None:
        comparator = feature.drift_comparator
        (comparator.infinity_norm if tokens else comparator.jensen_shannon_divergence).threshold = limit
