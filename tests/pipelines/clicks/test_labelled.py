"""Labelled clicks by column and scored, on the small project's label job."""

import gzip
import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.serving.exports import Exports
from mal_tf.training.dataset import serialized
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.clicks.labelled import LabelledClicks, click_id_type, load_clicks
from pipelines.config.run import load
from tests.support.project import Project

COLUMNS = ["click_id", "user_id", "timestamp", "mature", "label_linear", "place", "item", "price"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.config["labels"]["segment_hours"] = 24
    config = load(project.write())
    project.labels()
    return project, config, labelled.load(str(project.folder / "labels"), config.feature_spec)


def in_order(clicks, *columns):
    """Values as TensorFlow parses each record, in the order of training."""
    kinds = {"string": tf.string, "int64": tf.int64, "float32": tf.float32}
    parsing = {name: tf.io.FixedLenFeature([], kinds[clicks.types[name]]) for name in columns}
    for record in serialized(clicks.split, 1):
        yield [value.numpy().item() for value in tf.io.parse_example(record, parsing).values()]


def test_columns_come_in_the_order_of_training(made):
    project, _, data = made
    for split in ("train", "eval"):
        clicks = data.clicks(split)
        frame = clicks.frame(COLUMNS)
        assert list(frame) == COLUMNS
        assert frame["click_id"].tolist() == [one for (one,) in in_order(clicks, "click_id")]
        log = project.clicks.to_pandas().set_index("id").loc[frame["click_id"]]
        for column, name in (("user", "user_id"), ("ts", "timestamp"), ("place", "place"), ("item", "item")):
            assert log[column].tolist() == frame[name].tolist()
        np.testing.assert_array_equal(log["price"].to_numpy(np.float32), frame["price"].to_numpy())
    batches = list(clicks.read(COLUMNS, 50))
    assert {batch.num_rows for batch in batches[:-1]} == {50}
    assert pa.concat_tables(batches).to_pandas().equals(frame)


def test_parts_of_the_clicks(made):
    _, _, data = made
    clicks = data.clicks("train")
    days = [data.clicks_in(data.splits["train"].chosen([day])).frame(["click_id"]) for day in (0, 1)]
    assert clicks.frame(["click_id"])["click_id"].tolist() == [one for day in days for one in day["click_id"]]
    whole = load_clicks(data.directory).frame(["click_id"])["click_id"].tolist()
    assert whole == [
        click for split in ("train", "eval") for click in data.clicks(split).frame(["click_id"])["click_id"]
    ]
    assert clicks.last(1).frame(["click_id"]).equals(days[1])
    in_file = clicks.in_file(clicks.segments[0][1], clicks.split.file_rows[0][1])
    assert set(in_file.frame(["click_id"])["click_id"]) < set(days[0]["click_id"])
    assert clicks.head(3).numpy().tolist() == next(iter(serialized(clicks.split, 3))).numpy().tolist()


def test_no_clicks_have_columns_too(made, tmp_path):
    _, _, data = made
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    for split in (Split([], []), Split([[str(tmp_path / "empty.gz")]], [[0]])):
        (batch,) = LabelledClicks(split, data.types, "here").read(["click_id", "user_id", "price"])
        assert [str(field.type) for field in batch.schema] == ["int64", "string", "float"] and not batch.num_rows


def test_a_missing_value_of_a_feature_is_marked_and_of_a_label_is_an_error(tmp_path):
    record = tf.train.Example.FromString(b"").SerializeToString()
    with tf.io.TFRecordWriter(str(tmp_path / "one.gz"), "GZIP") as writer:
        writer.write(record)
    types = {"place": "string", "item": "int64", "price": "float32", "label_last": "float32"}
    clicks = LabelledClicks(Split([[str(tmp_path / "one.gz")]], [[1]]), types, "here")
    ((place, item, price),) = clicks.frame(["place", "item", "price"]).itertuples(index=False)
    assert (place, item) == ("", -(2**63)) and np.isnan(price)
    with pytest.raises(
        MalTfError, match="here can't be read as labelled tf.Examples: .*label_last.*; run `labels` again"
    ):
        clicks.frame(["label_last"])


def test_other_columns_and_damaged_files_are_named(made, tmp_path):
    _, _, data = made
    clicks = data.clicks("eval")
    with pytest.raises(
        MalTfError, match=r"labels: expected column label_odd of the config, found: label_cat, label_first, label_last"
    ):
        next(clicks.read(["label_odd"]))
    with pytest.raises(MalTfError, match=r"expected column shop of the config, found: click_id, .*, user_id; run"):
        next(clicks.read(["shop"]))
    whole = pathlib.Path(clicks.segments[0][0]).read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    rows = clicks.split.file_rows[0][0]
    with pytest.raises(MalTfError, match=r"cut\.gz can't be read as labelled tf\.Examples"):
        list(clicks.in_file(str(tmp_path / "cut.gz"), rows).read(["click_id"]))
    path = pathlib.Path(shutil.copy(clicks.segments[0][0], tmp_path / "whole.gz"))
    for data_of_file, found in ((whole + whole, f"at least|{2 * rows}"), (gzip.compress(b""), "0"), (whole, f"{rows}")):
        path.write_bytes(data_of_file)
        with pytest.raises(
            MalTfError, match=rf"whole\.gz: expected {rows + 1} clicks, found ({found}); run `labels` again"
        ):
            list(clicks.in_file(str(path), rows + 1).read(["click_id"]))


class Priced(tf.Module):
    """An export whose CVR is a hundredth of the price."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples):
        price = tf.io.parse_example(examples, {"price": tf.io.FixedLenFeature([], tf.float32)})["price"]
        return {"cvr": price / 100}


def test_scores_stand_beside_the_clicks_that_they_are_of(made, tmp_path):
    _, _, data = made
    model = Priced()
    tf.saved_model.save(model, str(tmp_path / "priced"), {"serving_default": model.serve})
    scored = pa.concat_tables(data.clicks("eval").score(Exports({"a": str(tmp_path / "priced")}), ["price"], 37))
    assert scored.schema.names == ["price", "cvr_a"]
    np.testing.assert_allclose(scored["cvr_a"].to_numpy(), scored["price"].to_numpy() / 100, rtol=1e-6)
    alone = pa.concat_tables(data.clicks("eval").score(Exports({"a": str(tmp_path / "priced")})))
    assert alone.equals(scored.select(["cvr_a"]))


def test_an_earlier_manifest_without_columns_reads_the_same(made, tmp_path):
    project, config, data = made
    folder = tmp_path / "labels"
    folder.mkdir()
    for name in ("Split-train", "Split-eval", "vocabulary"):
        (folder / name).symlink_to(project.folder / "labels" / name)
    stated = json.loads((project.folder / "labels/manifest.json").read_text())
    del stated["columns"]
    (folder / "manifest.json").write_text(json.dumps(stated))
    earlier = labelled.load(str(folder), config.feature_spec)
    assert earlier.types == data.types
    assert earlier.clicks("eval").frame(COLUMNS).equals(data.clicks("eval").frame(COLUMNS))
    with pytest.raises(
        MalTfError, match=r"labels/manifest\.json: expected `columns`, found none: written by an earlier version"
    ):
        load_clicks(str(folder))


@pytest.mark.parametrize("change", [str.rstrip, lambda text: text + "new\n", lambda text: text[::-1], None])
def test_a_vocabulary_that_was_changed_since_is_noticed(made, tmp_path, change):
    project, config, _ = made
    folder = shutil.copytree(project.folder / "labels", tmp_path / "labels")
    path = folder / "vocabulary/place.txt"
    assert labelled.load(str(folder), config.feature_spec).vocabularies["place"] == path.read_text().split()
    if change:
        path.write_text(change(path.read_text()))
    else:
        path.unlink()
    with pytest.raises(MalTfError, match=r"place\.txt( is missing|: expected the file as it was written)"):
        labelled.load(str(folder), config.feature_spec)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))], "int64"),
        ([tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"]))], "string"),
        ([None], "string"),
        ([], "string"),
    ],
)
def test_the_type_of_ids_is_that_of_the_first(values, expected):
    examples = [
        tf.train.Example(features=tf.train.Features(feature={"click_id": value} if value else {})) for value in values
    ]
    assert click_id_type(example.SerializeToString() for example in examples) == expected


def test_a_split_without_files_is_empty(made):
    _, _, data = made
    assert data.clicks_in(Split([], [])).frame(["mature"]).empty


EDITS = {
    "of another stage": (lambda found: found.pop("files"), "`files`: Field required"),
    "a split of another name": (lambda found: found["files"][0].update(split="test"), r"`files.0.split`: Input should be 'tra"),
    "rows as text": (lambda found: found["files"][1].update(rows="12"), r"`files.1.rows`: Input should be a valid integer"),
    "without segments": (lambda found: found["files"][0].pop("segment"), r"`files.0.segment`: Field required"),
    "counts that are none": (lambda found: found["files"][0].update(labels="x"), r"`files.0.labels`: Input should be a"),
    "columns that are none": (lambda found: found.update(columns="x"), "`columns`: Input should be a valid list"),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "told"), EDITS.values(), ids=EDITS)
def test_a_manifest_of_no_label_job_is_named_with_what_differs(made, tmp_path, edit, told):
    project, config, _ = made
    shutil.copytree(project.folder / "labels", tmp_path / "labels")
    path = tmp_path / "labels/manifest.json"
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))
    for read in (lambda: labelled.load(str(path.parent), config.feature_spec), lambda: load_clicks(str(path.parent))):
        with pytest.raises(
            MalTfError, match=f"^{path}: expected that of a label job, found {told}.*run `labels` again"
        ):
            read()
