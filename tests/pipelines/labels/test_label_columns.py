"""The manifest's columns are those of the label files."""

import json

import pyarrow as pa
import pytest

from features.keras2 import tf
from pipelines.labels.finish import id_type
from pipelines.labels.label_columns import may_be_missing

KINDS = {"string": "bytes_list", "int64": "int64_list", "float32": "float_list"}


@pytest.mark.parametrize("text", [False, True])
def test_the_manifest_states_what_the_files_hold(project, text):
    if text:
        ids = pa.array([f"id {n}" for n in project.clicks["id"].to_pylist()])
        project.clicks = project.clicks.set_column(0, "id", ids)
    project.conversions = project.conversions.append_column("worth", pa.array([2.0] * project.conversions.num_rows))
    project.config["sources"]["conversions"]["columns"]["value"] = "worth"
    project.write()
    project.labels()
    manifest = json.loads((project.folder / "labels/manifest.json").read_text())
    types = {column["name"]: column["type"] for column in manifest["columns"]}
    assert all(column["meaning"] for column in manifest["columns"])
    assert types["click_id"] == ("string" if text else "int64")
    assert types["clicked_items"] == "list of int64"
    found = {}
    for entry in manifest["files"]:
        assert "click_id" not in entry
        for record in tf.data.TFRecordDataset(str(project.folder / "labels" / entry["path"]), "GZIP"):
            for name, feature in tf.train.Example.FromString(record.numpy()).features.feature.items():
                found.setdefault(name, set()).add(feature.WhichOneof("kind"))
    assert found == {name: {KINDS[kind.removeprefix("list of ")]} for name, kind in types.items()}


def test_files_without_clicks_have_no_type_of_ids():
    entries = [{"click_id": kind, "rows": rows} for kind, rows in (("int64", 0), ("string", 1), ("string", 2))]
    assert id_type(entries) == "string"


def test_features_alone_may_be_missing():
    assert may_be_missing("price")
    assert not any(map(may_be_missing, ("click_id", "mature", "label_last", "label_cat", "valued_credit_mta")))
