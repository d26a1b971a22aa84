"""Files that `predict` reads: without clicks, a prediction file without rows."""

import types

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.keras2 import tf
from pipelines.clicks import predict
from tests.support.empty import EVERY


class PredictRaw:
    """The signature of an export that takes `ts` and predicts a half."""

    structured_input_signature = ((), {"ts": tf.TensorSpec([None], tf.int64, "ts")})

    def __call__(self, ts):
        return {"cvr": tf.fill(tf.shape(ts), 0.5)}


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(predict, "load", lambda _: {"predict_raw": PredictRaw()})
    monkeypatch.setattr(predict, "find_saved_model", lambda _: "")
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
