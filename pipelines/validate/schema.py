"""Reading and inferring data schemas, which are reviewed by hand and then enforced on every run."""

import pyarrow as pa
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from features.errors import MalTfError
from features.spec import RESERVED, FeatureSpec
from pipelines.core import files
from pipelines.validate.tfdv import tfdv

SERVING, TRAINING = "SERVING", "TRAINING"

#: Share of clicks that have to agree with an inferred vocabulary, and that have to have a feature which all clicks have.
_MASS = 0.99

_TYPES = {pa.string(): schema_pb2.BYTES, pa.int64(): schema_pb2.INT, pa.float32(): schema_pb2.FLOAT}


def load_schema(path: str) -> schema_pb2.Schema:
    """Reads a `schema.pbtxt`.

    Raises:
        MalTfError: the file is missing, or not a schema.
    """
    if not files.exists(path):
        raise MalTfError(
            f"{path}: no such schema file (validation.schema_file). Make a first one with "
            "`mal-tf validate CONFIG --infer-schema`, review it by hand and commit it."
        )
    try:
        return text_format.Parse(files.read_text(path), schema_pb2.Schema())
    except text_format.ParseError as error:
        raise MalTfError(f"{path} is not a TFDV schema: {error}") from error


def infer_schema(training: statistics_pb2.DatasetFeatureStatisticsList, spec: FeatureSpec) -> schema_pb2.Schema:
    """Infers a first schema from the statistics of the training split.

    It holds what the split shows of the kind of data, not which numbers or list lengths happened to occur: a count that was
    only 0 or 1 so far may be 9. Columns that are not features, such as labels, are left out of environment SERVING. Only
    categorical features with at most 20 tokens get a fixed vocabulary, and up to 1% of the clicks may have tokens outside it,
    or lack a feature that all clicks of the split have. A feature that less than 1% have may be absent.

    Raises:
        MalTfError: the statistics lack a column of the label job.
    """
    schema = tfdv.infer_schema(training, infer_feature_shape=False, max_string_domain_size=20)
    schema.default_environment.extend([TRAINING, SERVING])
    found = {feature.name for feature in schema.feature}
    if missing := sorted(set(RESERVED) - found):
        raise MalTfError(
            f"found no statistics for {', '.join(missing)}; run `labels` and `validate` with the same config"
        )
    mechanisms = sum(name.startswith("label_") for name in found) - 1
    for name in spec.arrow_types.keys() - found:  # No click of the split has a value.
        schema.feature.add(name=name)
    shares = present_shares(training)
    for feature in sorted(schema.feature, key=lambda feature: feature.name):
        if feature.name in spec.arrow_types:
            _widen(feature, schema, spec.arrow_types[feature.name], shares.get(feature.name, 0.0))
            continue
        feature.not_in_environment.append(SERVING)
        if feature.name != "mature":
            feature.ClearField("domain_info")
        if feature.name == "label_cat":
            feature.int_domain.min, feature.int_domain.max = 0, 2**mechanisms - 1
        elif feature.name.startswith("label_"):
            feature.float_domain.min, feature.float_domain.max = 0.0, 1.0
        elif feature.name.startswith("credit_"):  # A refund makes `valued_credit_` negative.
            feature.float_domain.min = 0.0
    return schema


def present_shares(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, float]:
    """Returns the share of clicks that have a value, by feature; features that no click has may be left out."""
    (dataset,) = statistics.datasets
    counts = {
        "".join(feature.path.step): getattr(feature, feature.WhichOneof("stats")).common_stats
        for feature in dataset.features
    }
    return {
        name: count.num_non_missing / dataset.num_examples if count.tot_num_values else 0.0
        for name, count in counts.items()
    }


def _widen(feature: schema_pb2.Feature, schema: schema_pb2.Schema, kind: pa.DataType, share: float) -> None:
    """Leaves of a feature's inferred entry what other clicks of the same kind also meet.

    Args:
        feature: the entry.
        schema: the schema that it is in.
        kind: type of the feature's values.
        share: share of clicks of the training split that have a value.
    """
    if pa.types.is_list(kind):
        feature.ClearField("value_count")
        kind = kind.value_type
    feature.type = _TYPES[kind]
    truth = {"true", "false"} & {feature.bool_domain.true_value, feature.bool_domain.false_value}
    if truth and feature.name not in {domain.name for domain in schema.string_domain}:
        schema.string_domain.add(name=feature.name, value=["false", "true"])
        feature.domain = feature.name
    elif not feature.domain:
        feature.ClearField("domain_info")
    if feature.domain:
        feature.distribution_constraints.min_domain_mass = _MASS
    if share < 1 - _MASS:
        feature.ClearField("presence")
    elif feature.presence.min_fraction:
        feature.presence.min_fraction = _MASS


def serving_features(schema: schema_pb2.Schema) -> list[str]:
    """Lists the names of the features in environment SERVING."""
    return [feature.name for feature in schema.feature if SERVING not in feature.not_in_environment]
