"""The validation stage, which stops a run if its data has anomalies against the schema, and lists them."""

import logging
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from features.errors import MalTfError
from features.spec import FeatureSpec
from pipelines.core import files
from pipelines.validate import statistics as split_statistics
from pipelines.validate.page import page
from pipelines.validate.schema import TRAINING, infer_schema, load_schema, present_shares, serving_features
from pipelines.validate.tfdv import tfdv

ANOMALIES, SCHEMA, HTML = "SchemaDiff.pb", "schema.pbtxt", "statistics.html"

#: Largest number of offending values shown per anomaly.
_VALUES_SHOWN = 5

log = logging.getLogger("mal_tf.validate")


class Anomalies(MalTfError):
    """Raised if the data does not match the schema.

    Attributes:
        lines: a description of each anomaly, `<split> split, feature …`.
    """

    def __init__(self, message: str, lines: list[str]):
        super().__init__(message)
        self.lines = lines


def validate(statistics_directory: str, output: str, spec: FeatureSpec, schema_file: str | None) -> dict[str, Any]:
    """Validates the statistics of the splits; writes the schema used, the anomalies and a page about the statistics.

    Args:
        statistics_directory: directory with the statistics of the splits.
        output: directory to write to.
        spec: features, which must be those of the schema's SERVING environment.
        schema_file: reviewed schema; if None, the schema is inferred from the training split.

    Returns:
        `{"schema": path or "inferred", "examples": {split: count}, "features": count}`.

    Raises:
        Anomalies: the data does not match the schema; lists split, feature, reason and offending values of each anomaly.
        MalTfError: the schema is missing or malformed, or its serving features differ from the config's.
    """
    statistics = split_statistics.load(statistics_directory)
    shares = present_shares(statistics["train"])
    for name in (feature.name for feature in spec.features if not shares.get(feature.name)):
        log.warning(
            "feature '%s' has no value in the train split: the model learns nothing from it. Check its column, or remove it.",
            name,
        )
    schema = load_schema(schema_file) if schema_file else infer_schema(statistics["train"], spec)
    files.write_text(f"{output}/{SCHEMA}", text_format.MessageToString(schema))
    files.write_text(f"{output}/{HTML}", page(statistics))
    check_serving(schema, spec, schema_file)
    lines = []
    for split, split_stats in statistics.items():
        anomalies = tfdv.validate_statistics(split_stats, schema, environment=TRAINING)
        files.write_bytes(f"{output}/Split-{split}/{ANOMALIES}", anomalies.SerializeToString(deterministic=True))
        lines += [f"{split} split, {line}" for line in describe(anomalies, split_stats, schema)]
    if lines:
        raise Anomalies(
            f"{len(lines)} anomalies against {schema_file or 'the schema inferred from the training split'}:\n"
            + "\n".join(f"  {line}" for line in lines)
            + f"\nSee {output}/{HTML}. Fix the data; or, if the data is right, edit the schema and record why.",
            lines,
        )
    examples = {split: split_stats.datasets[0].num_examples for split, split_stats in statistics.items()}
    return {"schema": schema_file or "inferred", "examples": examples, "features": len(schema.feature)}


def describe(
    anomalies: anomalies_pb2.Anomalies,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[str]:
    """Describes each anomaly in a line with feature, reason and offending values."""
    lines = []
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"all features: {anomalies.dataset_anomaly_info.description}")
    for name, info in sorted(anomalies.anomaly_info.items()):
        values = _offending_values(name, statistics, schema)
        shown = f" Offending values, most frequent first: {', '.join(values)}." if values else ""
        lines.append(f"feature '{name}': {info.short_description}: {info.description}{shown}")
    return lines


def _offending_values(name: str, statistics, schema: schema_pb2.Schema) -> list[str]:
    """Returns the most frequent values outside the feature's domain, or any values if the schema lacks the feature."""
    by_name = {"".join(f.path.step): f for f in statistics.datasets[0].features}
    expected = next((f for f in schema.feature if f.name == name), None)
    if name not in by_name:
        return []
    feature = by_name[name]
    if feature.HasField("num_stats"):
        stats = feature.num_stats
        domain = expected and (expected.float_domain if expected.HasField("float_domain") else expected.int_domain)
        below = [stats.min] if domain and stats.min < domain.min else []
        return [f"{v:g}" for v in (below + ([stats.max] if domain and stats.max > domain.max else []))]
    if expected and not expected.domain:
        return []
    domain_values = {v for d in schema.string_domain if expected and d.name == expected.domain for v in d.value}
    top = [entry.value for entry in feature.string_stats.top_values if entry.value not in domain_values]
    return [repr(value) for value in top[:_VALUES_SHOWN]]


def check_serving(schema: schema_pb2.Schema, spec: FeatureSpec, schema_file: str | None) -> None:
    """Checks that the environment SERVING of a schema has exactly the config's features.

    Raises:
        MalTfError: features are missing or unexpected.
    """
    expected, present = {f.name for f in spec.features}, set(serving_features(schema))
    if expected != present:
        raise MalTfError(
            f"{schema_file}: expected exactly the config's features in environment SERVING; "
            f"missing: {', '.join(sorted(expected - present)) or 'none'}; "
            f"unexpected: {', '.join(sorted(present - expected)) or 'none'}"
        )
