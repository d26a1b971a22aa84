"""Files that `predict` reads: the same clicks have the same predictions in every format; no clicks, none."""

import errno
import json
import os
import types
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from features.errors import MalTfError
from features.feature import INT64_MISSING
from features.keras2 import tf
from pipelines.clicks import predict
from pipelines.core import manifest
from tests.support.empty import EVERY
from tests.support.every_format import tables, write

SIGNATURE = {
    "place": tf.TensorSpec([None], tf.string, "place"),
    "flag": tf.TensorSpec([None], tf.string, "flag"),
    "item": tf.TensorSpec([None], tf.int64, "item"),
    "price": tf.TensorSpec([None], tf.float32, "price"),
    "near": tf.TensorSpec([None, None], tf.float32, "near"),
}


class HashOfAll:
    """The signature of an export whose prediction differs where any bit of any input does."""

    structured_input_signature = ((), SIGNATURE)

    def __call__(self, near, **inputs):
        columns = [value.numpy() for value in inputs.values()]
        lists = [row.tobytes() if (row := one[~np.isnan(one)]).size else b"" for one in near.numpy()]
        cells = zip(
            *(map(bytes, column.astype("S99") if column.dtype == object else column[:, None]) for column in columns),
            lists,
            strict=True,
        )
        return {"cvr": tf.constant([zlib.crc32(b"|".join(row)) / 2**32 for row in cells])}


class PredictRaw:
    """The signature of an export that takes `ts` and predicts a half."""

    structured_input_signature = ((), {"ts": tf.TensorSpec([None], tf.int64, "ts")})

    def __call__(self, ts):
        return {"cvr": tf.fill(tf.shape(ts), 0.5)}


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(predict, "load", lambda _, signature: {signature: PredictRaw()})
    monkeypatch.setattr(predict, "find_saved_model", lambda _: "/models/base/1")
    return types.SimpleNamespace(predict=lambda *arguments: predict.predict("", *map(str, arguments)))


@pytest.mark.parametrize("name", [name for name in EVERY if "jsonl" not in name])
def test_no_clicks_are_no_predictions_with_the_columns_of_some(tmp_path, model, name):
    EVERY[name](tmp_path / name)
    assert model.predict(tmp_path / name, tmp_path / "out.parquet", "id") == 0
    found = pq.read_schema(tmp_path / "out.parquet")
    assert (found.names, found.types) == (["id", "cvr"], [pa.string(), pa.float32()])
    assert model.predict(tmp_path / name, tmp_path / "out.csv", "id") == 0
    assert (tmp_path / "out.csv").read_text().strip() == '"id","cvr"'


def test_the_id_keeps_its_type(tmp_path, model):
    pq.write_table(pa.table({"id": pa.array([], pa.int64()), "ts": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    assert model.predict(tmp_path / "a.parquet", tmp_path / "out.parquet", "id") == 0
    assert pq.read_schema(tmp_path / "out.parquet").field("id").type == pa.int64()


@settings(deadline=None, max_examples=30)
@given(tables())
def test_the_same_clicks_have_the_same_predictions_in_every_format(tmp_path_factory, rows):
    """And the same ids, but for their type."""
    folder = tmp_path_factory.mktemp("log")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "load", lambda _, signature: {signature: HashOfAll()})
        patch.setattr(predict, "find_saved_model", lambda _: "")
        for path in write(rows, folder):
            predict.predict("", str(path), str(folder / "cvr.parquet"), "id")
            scored = pq.read_table(folder / "cvr.parquet")
            found.append((scored["id"].cast(pa.string()).to_pylist(), scored["cvr"].to_pylist()))
    assert found == found[:1] * len(found)
    assert len(found[0][1]) == rows.num_rows


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_the_id_may_be_a_field(tmp_path, model, ending):
    rows = [{"event": {"id": number}, "ts": number} for number in (3, 4)]
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    else:
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert model.predict(tmp_path / f"a.{ending}", tmp_path / "out.parquet", "event.id") == 2
    assert pq.read_table(tmp_path / "out.parquet")["event.id"].cast(pa.string()).to_pylist() == ["3", "4"]
    with pytest.raises(MalTfError, match=r"column 'event\.name' is missing; found: event, event\.id, ts"):
        model.predict(tmp_path / f"a.{ending}", tmp_path / "out.parquet", "event.name")


@pytest.mark.parametrize(
    "output", ["clicks.csv", "./clicks.csv", "link.csv", "HERE/clicks.csv", "hard.csv", "new.csv/"]
)
def test_the_clicks_are_not_overwritten_in_any_spelling(tmp_path, monkeypatch, model, output):
    clicks = tmp_path / "clicks.csv"
    clicks.write_text("id,ts\na,1\n")
    (tmp_path / "link.csv").symlink_to(clicks)
    os.link(clicks, tmp_path / "hard.csv")
    (tmp_path / "new.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MalTfError, match="expected (a place apart|a file to write|an output ending)"):
        model.predict("clicks.csv", output.replace("HERE", str(tmp_path)), "id")
    assert clicks.read_text() == "id,ts\na,1\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.csv", "hard.csv", "link.csv", "new.csv"]
    assert model.predict("clicks.csv", "predictions.csv", "id") == 1


def test_files_that_a_manifest_lists_are_not_overwritten_and_are_read_to_their_end(tmp_path, model):
    market = tmp_path / "market"
    manifest.begin(str(market), overwrite=False)
    for name in ("clicks.csv", "more.csv"):
        (market / name).write_text("id,ts\na,1\nb,2\n")
    entries = [entry | {"rows": 2} for entry in manifest.describe(str(market), ["clicks.csv", "more.csv"])]
    manifest.finish(str(market), {"made_from": "market", "files": entries})
    with pytest.raises(MalTfError, match=r"more\.csv: expected a new file, found one of a finished stage"):
        model.predict(market / "clicks.csv", market / "more.csv", "id")
    assert model.predict(market / "clicks.csv", tmp_path / "out.csv", "id") == 2
    (market / "clicks.csv").write_text("id,ts\na,1\n")
    with pytest.raises(MalTfError, match=r"clicks\.csv: expected 2 rows, as its manifest says, found 1"):
        model.predict(market / "clicks.csv", tmp_path / "cut.csv", "id")
    assert not (tmp_path / "cut.csv").exists()


@pytest.fixture
def sizes(model, monkeypatch):
    """Numbers of clicks that the model is called with, which are their times."""
    found = []

    def called(self, ts):
        found.append(int(tf.size(ts)))
        return {"cvr": tf.cast(ts, tf.float32)}

    monkeypatch.setattr(PredictRaw, "__call__", called)
    return found


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_few_clicks_are_scored_at_a_time_in_order_whatever_the_files_batches_are(tmp_path, model, sizes, ending):
    clicks = pa.table({"id": pa.array(np.arange(70_000)), "ts": pa.array(np.arange(70_000))})
    path = tmp_path / f"a.{ending}"
    if ending == "jsonl":
        clicks.to_pandas().to_json(path, orient="records", lines=True)
    else:
        (pq.write_table if ending == "parquet" else pyarrow.csv.write_csv)(clicks, path)
    assert model.predict(path, tmp_path / "out.parquet", "id") == 70_000
    assert max(sizes) == 4096 and sum(sizes) == 70_000
    found = pq.ParquetFile(tmp_path / "out.parquet")
    assert found.read()["cvr"].to_pylist() == found.read()["id"].cast(pa.float32()).to_pylist() == list(range(70_000))
    assert found.num_row_groups == 2


def test_words_for_null_are_as_in_the_configs_table(tmp_path, model, sizes):
    (tmp_path / "a.csv").write_text("id,ts\n1,-\n2,NULL\n3,7\n")
    missing = float(INT64_MISSING)
    for words, expected in ((None, [missing, missing, 7.0]), (("-",), [missing, missing, 7.0])):
        predict.predict("", str(tmp_path / "a.csv"), str(tmp_path / "out.parquet"), "id", words)
        assert pq.read_table(tmp_path / "out.parquet")["cvr"].to_pylist() == expected
    (tmp_path / "b.csv").write_text("id,ts\n-,1\nNULL,2\n")
    predict.predict("", str(tmp_path / "b.csv"), str(tmp_path / "out.parquet"), "id", ("-",))
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == [None, "NULL"]
    (tmp_path / "a.gz").write_bytes(b"")
    with pytest.raises(MalTfError, match="expected a table such as .csv or .parquet with --id or --null-value"):
        predict.predict("", str(tmp_path / "a.gz"), "out.csv", "", ("-",))


def test_the_newest_version_is_a_directory_named_by_the_largest_integer(tmp_path):
    for name in ("9", "010", "notes", "²"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file")
    assert predict.find_saved_model(str(tmp_path)) == f"{tmp_path}/010"


def test_a_prediction_that_is_no_number_is_an_error_with_its_place_and_leaves_no_output(tmp_path, model, monkeypatch):
    monkeypatch.setattr(PredictRaw, "__call__", lambda _, ts: {"cvr": tf.where(ts == 2, float("nan"), 0.5)})
    (tmp_path / "a.csv").write_text("click_id,ts\n1,1\n2,2\n")
    with pytest.raises(
        MalTfError, match=r"'/models/base/1': a prediction for .*a.csv, clicks 1 to 2 is nan, expected a fin"
    ):
        model.predict(tmp_path / "a.csv", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_output_that_cannot_be_written_is_named_and_a_long_name_is_none(tmp_path, model, ending):
    (tmp_path / "a.csv").write_text("click_id,ts\n1,1\n")
    for name in (f"{'x' * 252}.{ending}", f"full.{ending}"):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(MalTfError, match=f"{name}: can't be written"):
            if name.startswith("full"):
                patch.setattr(predict.files.os, "fsync", full_disk)
            model.predict(tmp_path / "a.csv", tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert model.predict(tmp_path / "a.csv", tmp_path / f"{'x' * 240}.{ending}") == 1


def full_disk(_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_cells_that_can_not_be_read_are_missing_and_counted(tmp_path, model, caplog):
    lines = [b'{"id": 1, "ts": [2]}', b'{"id": 2, "ts": "\xe9"}', b'{"id": 3, "ts": {}}', b'{"id": 4, "ts": 5}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "a.csv").write_bytes(b"id,ts\n1,\xe9\n2,x\n3,\xe8\n4,5\n")
    for name in ("a.jsonl", "a.csv"):
        caplog.clear()
        assert model.predict(tmp_path / name, tmp_path / "out.parquet", "id") == 4
        assert "3 values of column 'ts' are not whole numbers: taken for missing" in caplog.text
