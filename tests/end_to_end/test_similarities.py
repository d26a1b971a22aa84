"""Lists of similarities in the click log, all the way to a served model's predictions."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.keras2 import tf
from pipelines.cli import app
from pipelines.clicks.predict import predict
from tests.support.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("similarities"))
    generator = np.random.default_rng(3)
    lists = [generator.uniform(-1, 1, size=n).astype("f").tolist() for n in generator.integers(6, size=600)]
    project.clicks = project.clicks.append_column("cosines", pa.array([None, *lists[1:]], pa.list_(pa.float32())))
    project.config["features"].append({"type": "similarity", "name": "near", "column": "cosines", "length": 4})
    project.config["model"]["compare_with"] = []
    repeats = project.clicks.slice(5, 2).to_pylist()
    repeats[1]["cosines"] = [0.5]
    project.clicks = pa.concat_tables([project.clicks, pa.Table.from_pylist(repeats, project.clicks.schema)])
    app(["run", project.write(), "--output", str(project.folder / "run")], standalone_mode=False)
    return project


def test_labels_keep_them_and_tell_repeats_from_other_content(project):
    folder = project.folder / "run/labels"
    report = json.loads((folder / "label_report.json").read_text())
    assert report["clicks"]["exact_repeats"] == 1
    assert report["dead_letters"]["clicks"] == {"click_id is a duplicate with other content": 1}
    cosines = dict(zip(*(project.clicks.slice(0, 600)[name].to_pylist() for name in ("id", "cosines")), strict=True))
    dead = json.loads((folder / "dead_letter/clicks-00000.jsonl").read_text())
    seen = 0
    for path in folder.glob("Split-*/*.gz"):
        for record in tf.data.TFRecordDataset(str(path), "GZIP"):
            feature = tf.train.Example.FromString(record.numpy()).features.feature
            click = feature["click_id"].int64_list.value[0]
            if click != dead["record"]["click_id"]:
                assert list(feature["near"].float_list.value) == (cosines[click] or [])[:4]
            seen += 1
    assert seen == report["clicks"]["written"] > 400


def test_they_reach_the_served_model(project):
    folder = project.folder
    base = {"click_id": [1, 2, 3], "place": ["top"] * 3, "item": [3] * 3, "price": [9.5] * 3}
    near = ["0.9|-0.5", "", "0.9|-0.5|0.1|0.2|0.7"]
    clicks = pd.DataFrame(base | {"clicked_items": ["3|4"] * 3})
    clicks.assign(near=near).to_csv(folder / "new.csv", index=False)
    lists = [[float(v) for v in text.split("|") if v] for text in near]
    clicks.assign(clicked_items=[[3, 4]] * 3, near=lists).to_parquet(folder / "new.parquet")
    found = []
    for name in ("new.csv", "new.parquet"):
        predict(str(folder / "run/serving/mal"), str(folder / name), str(folder / "out.parquet"))
        found.append(pq.read_table(folder / "out.parquet")["cvr"].to_numpy())
    np.testing.assert_array_equal(*found)
    assert len(set(found[0])) == 3
