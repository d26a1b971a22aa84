"""Every kind of extension, from an installed package that mal-tf knows nothing of, by `mal-tf run` to the report."""

import json
import os
import pathlib
import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest

from features.keras2 import tf
from tests.support.project import Project

ROOT = pathlib.Path(__file__).parents[2]
PLUGIN = ROOT / "tests/plugins/shop"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished run of a project that uses the plug-in's parts."""
    folder = tmp_path_factory.mktemp("shop")
    installed = folder / "site-packages"
    source = folder / "plugin"
    subprocess.run(["cp", "-r", str(PLUGIN), str(source)], check=True)  # The build leaves files beside the source.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(installed), str(source)], check=True)

    project = Project(folder)
    clicks = project.clicks.append_column("kind", pa.array(["click"] * len(project.clicks)))
    clicks = clicks.set_column(0, "id", pc.cast(clicks["id"], pa.string()))
    purchases = project.conversions.append_column("kind", pa.array(["purchase"] * len(project.conversions)))
    schema = pa.unify_schemas([clicks.schema, purchases.schema])
    events = pa.Table.from_pylist([*clicks.to_pylist(), *purchases.to_pylist()], schema)
    pyarrow.csv.write_csv(events, folder / "events.csv")
    config = project.config
    config["sources"] = {"adapter": "mal_tf_shop.source:EventLog", "files": ["events.csv"]}
    config["features"].append({"type": "mal_tf_shop.feature:Hour", "name": "hour"})
    config["attribution"]["mechanisms"].append({"name": "last_two", "type": "mal_tf_shop.mechanism:LastTwo"})
    config["model"] |= {"name": "mal_tf_shop.model", "compare_with": ["base"], "initial_sum": 2.0}
    environment = os.environ | {"PYTHONPATH": f"{installed}:{ROOT}"}
    command = [sys.executable, "-m", "pipelines.cli", "run", project.write(), "--output", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def test_the_mechanism_and_the_feature_are_in_the_labelled_clicks(run):
    file = next(iter(run.glob("labels/Split-train/*.gz")))
    record = next(iter(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator()))
    features = tf.train.Example.FromString(record).features.feature
    assert 0 <= features["hour"].int64_list.value[0] < 24
    assert features["hour"].int64_list.value[0] == features["timestamp"].int64_list.value[0] // 3600 % 24
    assert features["label_last_two"].float_list.value


def test_the_model_is_exported_and_described(run):
    network = json.loads((run / "train/mal_tf_shop.model/network.json").read_text())
    assert network["sizes"]["hour"] == 25
    assert network["model"]["initial_sum"] == 2.0
    (blend,) = [block for block in network["blocks"] if block["title"] == "blend of towers"]
    assert set(blend["reads"]) == {f"{name}_tower" for name in ("first", "last", "linear", "mta", "last_two")}
    assert (run / "serving/mal_tf_shop.model/1/saved_model.pb").exists()


def test_the_report_draws_the_model_and_names_all_of_it(run):
    page = (run / "report.html").read_text()
    for words in ("How mal_tf_shop.model is built", "blend of towers", "CVR of last", "last_two", "hour"):
        assert words in page


def test_the_metric_has_a_value_a_difference_and_a_place_on_the_page(run):
    metrics = json.loads((run / "evaluate/metrics.json").read_text())
    assert 0 < metrics["models"]["mal_tf_shop.model"]["brier"] < 1
    brier = {model: of["brier"] for model, of in metrics["models"].items()}
    difference = metrics["differences"]["base"]["brier"]["difference"]
    assert difference == pytest.approx(brier["mal_tf_shop.model"] - brier["base"])
    assert "Brier score" in (run / "report.html").read_text()
