"""The schema that is inferred from the training split: what other clicks of the same kind may hold, and what they may not."""

import logging

import pyarrow as pa
import pytest
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_metadata.proto.v0 import statistics_pb2

from features.spec import FeatureSpec
from pipelines.core import files
from pipelines.validate import gate
from pipelines.validate.statistics import STATISTICS
from pipelines.validate.tfdv import tfdv

TYPES = {"string": pa.binary(), "int64": pa.int64(), "float32": pa.float32()}


def split(feature, kind, values, valued=1.0):
    """Label columns of clicks, and a feature whose value is a list, a single value or None."""
    lists = [value if value is None or isinstance(value, list) else [value] for value in values]
    rows = len(lists)
    columns = {
        "click_id": [[str(row + 100 * rows).encode()] for row in range(rows)],
        "user_id": [[f"u{row % 3}".encode()] for row in range(rows)],
        "timestamp": [[row] for row in range(rows)],
        "path_length": [[rows % 4]] * rows,
        "mature": [[1]] * rows,
        "label_last": [[row % 2] for row in range(rows)],
        "credit_last": [[row % 2] for row in range(rows)],
        "valued_credit_last": [[valued]] * rows,
        "label_cat": [[row % 2] for row in range(rows)],
        "g": [[b"x"]] * rows,
    }
    floats = ("label_last", "credit_last", "valued_credit_last")
    arrays = {
        name: pa.array(column, pa.list_(pa.float32()) if name in floats else None) for name, column in columns.items()
    }
    if any(value is not None for value in lists):  # tf.Examples omit what is missing.
        arrays[feature] = pa.array(lists, pa.list_(TYPES[kind]))
    return pa.RecordBatch.from_pydict(arrays)


def validated(folder, kind, train, later, feature=None, **keys):
    """Validates clicks against what the training clicks show."""
    feature = feature or {"type": "categorical", "name": "f", "dtype": kind}
    spec = FeatureSpec(features=[feature, {"type": "categorical", "name": "g"}])
    merged = statistics_pb2.DatasetFeatureStatisticsList()
    for name, values, valued in (("train", train, 1.0), ("eval", later, keys.get("valued", 1.0))):
        batch = split("f", kind, values, valued)
        (dataset,) = generate_statistics_in_memory(batch, tfdv.StatsOptions()).datasets
        dataset.name = f"Split-{name}"
        merged.datasets.append(dataset)
    files.write_bytes(f"{folder}/{STATISTICS}", merged.SerializeToString())
    return gate.validate(str(folder), str(folder / "out"), spec, None)


HISTORY = {"type": "history", "name": "f", "of": "g", "length": 3}


@pytest.mark.parametrize(
    "kind, train, later, feature",
    [
        ("int64", [0, 1, 1, 0], [9, -1, 0, 2], None),
        ("int64", [1] * 4, [0, 5, 1, 1], None),
        ("float32", [0.0, 1.0, 1.0, 0.0], [2.5, -1.0, 0.0, 1.0], {"type": "numeric", "name": "f"}),
        ("float32", [[0.5]] * 4, [[0.5, 0.1], [], [0.2], []], {"type": "similarity", "name": "f", "length": 3}),
        ("string", ["0", "1", "0", "1"], ["2", "17", "0", "1"], None),
        ("string", ["12", "13", "14", "15"], ["x", "17", "0", "1"], None),
        ("string", ["true"] * 4, ["false"] * 4, None),
        ("string", [["0"], ["1"]], [["2", "3"], []], HISTORY),
        ("string", [["a"], ["b"]], [["b", "a"], []], HISTORY),
    ],
)
def test_later_clicks_may_hold_other_numbers_and_longer_or_shorter_lists(tmp_path, kind, train, later, feature):
    assert validated(tmp_path, kind, train, later, feature)["examples"] == {"train": len(train), "eval": len(later)}


@pytest.mark.parametrize("later", [[None] * 4, [3, None, 2, 1]])
@pytest.mark.parametrize(
    "kind, feature",
    [
        ("int64", None),
        ("string", None),
        ("float32", {"type": "numeric", "name": "f"}),
        ("float32", {"type": "similarity", "name": "f", "length": 3}),
        ("string", HISTORY),
    ],
)
def test_a_feature_without_a_value_in_training_passes_with_a_warning(tmp_path, kind, feature, later, caplog):
    values = [value if value is None or kind != "string" else str(value) for value in later]
    with caplog.at_level(logging.WARNING, "mal_tf"):
        validated(tmp_path, kind, [None] * 4, values, feature)
    assert "feature 'f' has no value in the train split" in caplog.text


def test_lists_that_are_all_empty_in_training_pass_too(tmp_path, caplog):
    validated(tmp_path, "string", [[]] * 3, [["a"], [], None], HISTORY)
    assert "feature 'f' has no value in the train split" in caplog.text


def test_a_rare_feature_may_be_absent_and_a_common_one_may_miss_a_value(tmp_path):
    validated(tmp_path, "int64", [3] + 200 * [None], [None] * 5)
    validated(tmp_path, "int64", [3] * 200, [None] + 199 * [4])


@pytest.mark.parametrize(
    "kind, train, later, reason",
    [
        ("int64", [3] * 200, [None] * 200, "completely missing"),
        ("int64", [3] * 200, [None] * 9 + [3] * 191, "fewer examples than expected"),
        ("string", ["true", "false"] * 100, ["maybe"] * 200, "maybe"),
        ("string", ["top", "side"] * 100, ["feed"] * 200, "feed"),
    ],
)
def test_what_is_not_of_the_kind_is_an_anomaly(tmp_path, kind, train, later, reason):
    with pytest.raises(gate.Anomalies, match=reason):
        validated(tmp_path, kind, train, later)


def test_value_of_refunds_may_be_negative(tmp_path):
    validated(tmp_path, "int64", [3] * 4, [3] * 4, valued=-2.0)
