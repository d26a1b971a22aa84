"""Reading and inferring data schemas, which are reviewed by hand and then enforced on every run."""

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from features.errors import MalTfError
from features.spec import RESERVED, RESERVED_PREFIXES, FeatureSpec
from pipelines.core import files
from pipelines.validate.tfdv import tfdv

SERVING, TRAINING = "SERVING", "TRAINING"


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

    Columns that are not features, such as labels, are left out of environment SERVING. Only categorical features with at
    most 20 tokens get a fixed vocabulary, and up to 1% of the clicks may have tokens outside it.

    Raises:
        MalTfError: the statistics lack a feature or a column of the label job.
    """
    schema = tfdv.infer_schema(training, infer_feature_shape=False, max_string_domain_size=20)
    schema.default_environment.extend([TRAINING, SERVING])
    names = {f.name for f in spec.features}
    mechanisms = sum(feature.name.startswith("label_") for feature in schema.feature) - 1
    for feature in schema.feature:
        if feature.name not in names:
            feature.not_in_environment.append(SERVING)
        elif feature.domain:
            feature.distribution_constraints.min_domain_mass = 0.99
        if feature.name in ("click_id", "user_id"):
            feature.ClearField("int_domain")
        elif feature.name == "label_cat":
            feature.int_domain.min, feature.int_domain.max = 0, 2**mechanisms - 1
        elif feature.name.startswith("label_"):
            feature.float_domain.min, feature.float_domain.max = 0.0, 1.0
        elif feature.name.startswith(RESERVED_PREFIXES):
            feature.float_domain.min = 0.0
    missing = sorted((names | set(RESERVED)) - {feature.name for feature in schema.feature})
    if missing:
        raise MalTfError(
            f"found no statistics for {', '.join(missing)}; run `labels` and `validate` with the same config"
        )
    return schema


def serving_features(schema: schema_pb2.Schema) -> list[str]:
    """Lists the names of the features in environment SERVING."""
    return [feature.name for feature in schema.feature if SERVING not in feature.not_in_environment]
