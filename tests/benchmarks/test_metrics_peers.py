import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import metrics_peers


def test_clicks_are_the_mature_ones_with_user_codes(tmp_path):
    rows = pa.table(
        {
            "user_id": ["b", "a", "b", "c"],
            "mature": [1, 1, 1, 0],
            "label_last": pa.array([0, 1, 0.5, 1], pa.float32()),
            "cvr_mal": pa.array([0.1, 0.2, 0.3, 0.4], pa.float32()),
        }
    )
    pq.write_table(rows, tmp_path / "predictions.parquet")
    clicks = metrics_peers.clicks_of(tmp_path / "predictions.parquet", "last", "mal")
    assert clicks["user"].tolist() == [1, 0, 1]
    assert clicks["label"].tolist() == [0, 1, 0.5]
    assert clicks["prediction"].tolist() == np.array([0.1, 0.2, 0.3], np.float32).tolist()


def test_table_has_ours_first_and_reasons_in_place_of_values():
    row = {"package": "torchmetrics", "version": "1", "metric": "auc", "variant": "BinaryAUROC()"}
    own = {name: dict.fromkeys(metrics_peers.TITLES, 0.5) for name in ("last", "linear")}
    found = {"last": [row | {"value": 0.5}], "linear": [row | {"reason": "no fractions"}]}
    rows = metrics_peers.metric_table(found, own).rows
    assert rows[0] == ["AUC", "mal-tf", "", "", "0.500000", "0.500000"]
    assert rows[1] == ["", "torchmetrics 1", "BinaryAUROC()", "the same for 0 and 1 only", "0.500000", "no fractions"]
    assert len(rows) == len(metrics_peers.TITLES) + 1
