"""A user's path: config and logs, `mal-tf run`, `validate`, `predict`."""

import json
import re
import shutil
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.evaluation.metrics import all_metrics
from pipelines.clicks import labelled
from pipelines.clicks.predict import predict
from pipelines.clicks.scoring import score
from pipelines.config.run import load
from pipelines.retrain import run as retraining
from pipelines.retrain.judge import GatesConfig, judge
from tests.support.project import Project


def mal_tf(*words, fails=False):
    done = subprocess.run([sys.executable, "-m", "pipelines.cli", *words], capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    config = project.write()
    return project, config, mal_tf("run", config, "--output", str(project.folder / "run"))


def test_shows_what_it_did(finished):
    _, _, shown = finished
    for words in (
        "Positives per mechanism",
        "AUC",
        "GAUC",
        "PCOC",
        "SavedModel:",
        "Try next: ",
        "examples/s",
    ):
        assert words in shown


def test_stores_config_revision_metrics_and_both_models(finished):
    project, _, _ = finished
    run = project.folder / "run"
    assert "git_revision" in json.loads((run / "run.json").read_text())
    metrics = json.loads((run / "evaluate/metrics.json").read_text())
    assert set(metrics["models"]) == {"base", "mal"}
    assert set(metrics["differences"]) == {"base"}
    assert list(metrics["labels"]) == ["first", "last", "linear", "mta"]
    assert {part["by"] for part in metrics["slices"]} >= {"click_age", "user_history"}
    assert list((run / "evaluate/events/base").iterdir())
    assert list((run / "train/mal/tensorboard").iterdir())
    assert (run / "validate/statistics.html").stat().st_size > 1000
    assert (run / "serving/mal/1/assets.extra/tf_serving_warmup_requests").exists()


def test_the_report_is_of_this_run_and_its_links_lead_to_files(finished):
    project, _, shown = finished
    page = (project.folder / "run/report.html").read_text()
    assert "report.html" in shown and "mal against base" in page
    assert (
        "A file is not as expected" not in page and "Labels by mechanism" in page and "Learning curves of mal" in page
    )
    links = set(re.findall(r'href="([^"#:]+)"', page))
    assert {"evaluate/metrics.json", "export/mal/manifest.json", "validate/statistics.html"} <= links
    assert all((project.folder / "run" / link).is_file() for link in links)


def test_a_click_is_explained_with_what_evaluation_saw(finished):
    project, config, _ = finished
    run = project.folder / "run"
    clicks = pd.read_parquet(run / "evaluate/predictions.parquet").merge(
        project.clicks.to_pandas().rename(columns={"user": "user_id", "ts": "timestamp"}), on=["user_id", "timestamp"]
    )
    row = clicks.iloc[0]
    shown = mal_tf("explain", str(row["id"]), config, "--output", str(run))
    for words in ("As in the label files, byte for byte.", f"mal predicts a CVR of {row['cvr_mal']:.6f}", "CAT class"):
        assert words in shown
    assert "no click '99999' in" in mal_tf("explain", "99999", config, "--output", str(run), fails=True)
    assert f"id before the config; try: explain 99999 {config}" in mal_tf("explain", config, "99999", fails=True)
    journeys = json.loads((run / "journeys/journeys.json").read_text())["journeys"]
    assert {tuple(click["cvr"]) for journey in journeys for click in journey["clicks"]} == {("mal", "base")}


def test_second_run_repeats_nothing_and_a_changed_part_only_what_depends_on_it(finished):
    project, config, _ = finished
    again = mal_tf("run", config, "--output", str(project.folder / "run"))
    assert "started" not in again
    changed = mal_tf("run", config, "--output", str(project.folder / "run"), "--set", "evaluation.bootstrap_samples=5")
    assert "evaluate: started" in changed.replace("\n", " ")
    assert "train/mal: started" not in changed and "labels: started" not in changed


def test_export_predicts_what_evaluation_saw_from_every_kind_of_file(finished):
    project, _, _ = finished
    run, out = project.folder / "run", project.folder / "cvr.parquet"
    model, records = str(run / "serving/mal"), sorted((run / "labels/Split-eval").iterdir())
    scored = []
    for path in records:
        if json.loads((run / "labels/manifest.json").read_text())["files"] and pq and path.stat().st_size > 100:
            predict(model, str(path), str(out))
            scored.append(pq.read_table(out).to_pandas())
    evaluated = pq.read_table(run / "evaluate/predictions.parquet").to_pandas()
    np.testing.assert_allclose(np.sort(pd.concat(scored)["cvr"]), np.sort(evaluated["cvr_mal"]), atol=1e-6)

    clicks = pd.DataFrame({"click_id": [1, 2], "place": ["top", "nowhere"], "item": [3, None], "price": [9.5, None]})
    clicks["item"] = clicks["item"].astype("Int64")
    clicks.assign(clicked_items=["3|4", ""]).to_csv(project.folder / "new.csv", index=False)
    clicks.assign(clicked_items=[[3, 4], []]).to_parquet(project.folder / "new.parquet")
    clicks.assign(clicked_items=[[3, 4], []]).to_json(project.folder / "new.jsonl", orient="records", lines=True)
    duckdb.execute(f"COPY (FROM '{project.folder}/new.parquet') TO '{project.folder}/duckdb.parquet'")
    duckdb.execute(f"COPY (FROM '{project.folder}/new.parquet') TO '{project.folder}/duckdb.jsonl' (FORMAT json)")
    names = ["new.csv", "new.parquet", "new.jsonl", "duckdb.parquet", "duckdb.jsonl"]
    for name in names:
        assert predict(model, str(project.folder / name), str(out)) == 2
        scored.append(pq.read_table(out)["cvr"].to_numpy())
    np.testing.assert_array_equal(scored[-len(names) :], [scored[-1]] * len(names))
    assert (scored[-1] > 0).all() and (scored[-1] < 1).all()


def test_any_split_labels_and_exports_are_evaluated(finished):
    project, config, _ = finished
    run = project.folder / "run"
    models = [f"--model=new={run}/serving/mal", f"--model=old={run}/serving/base/1"]
    words = ["--split", "train", "--labels", str(run / "labels"), "--set", "evaluation.slices=[known_item, price]"]
    shown = mal_tf("evaluate", config, "--output", str(project.folder / "other"), *words, *models)
    assert "train/" not in shown and "labels: started" not in shown  # Nothing is made that is not needed.
    for title in ("train split, label_last, the target", "train split, label_mta", "by price", "Calibration of old"):
        assert title in shown
    (directory,) = (project.folder / "other/evaluations").iterdir()
    found = json.loads((directory / "metrics.json").read_text())
    assert (found["split"], found["served"], list(found["models"])) == ("train", "new", ["new", "old"])
    assert {part["by"] for part in found["slices"]} == {"known_item", "price"}
    clicks = pd.read_parquet(directory / "predictions.parquet")
    expected = all_metrics(*_columns(clicks.rename(columns={"cvr_old": "cvr_blessed"})))
    assert found["models"]["old"] == pytest.approx(expected)
    assert "NAME=SAVED_MODEL_DIR, found 'new'" in mal_tf("evaluate", config, "--model", "new", fails=True)
    wrong = mal_tf("evaluate", config, "--output", str(project.folder / "none"), "--labels", str(run), fails=True)
    assert f"expected a finished label job, found a run; did you mean {run}/labels?" in wrong
    assert "labels: started" not in wrong  # It is said before anything is made.
    wrong = mal_tf("evaluate", config, f"--model=mal={run}/serving", fails=True)
    assert "expected a SavedModel or a directory of versions such as serving/<model>, found base, mal" in wrong
    assert "found 'new' twice" in mal_tf("evaluate", config, models[0], models[0], fails=True)


def test_an_evaluation_with_features_is_judged_by_slice(finished, tmp_path):
    project, config, _ = finished
    run = project.folder / "run"
    config = load(config)
    data = labelled.load(str(run / "labels"), config.feature_spec)
    versions = {name: str(run / f"serving/{model}/1") for name, model in (("candidate", "mal"), ("blessed", "base"))}
    frame = score(config, data, versions, str(tmp_path), ["place", "item"])
    pd.testing.assert_frame_equal(frame.reset_index(drop=True), pd.read_parquet(tmp_path / "predictions.parquet"))
    clicks = project.clicks.to_pandas().rename(columns={"user": "user_id", "ts": "timestamp"})
    found = frame.merge(clicks, on=["user_id", "timestamp"], suffixes=("", "_of_log"))
    assert len(found) == len(frame) > 0
    assert (found["place"] == found["place_of_log"]).all() and (found["item"] == found["item_of_log"]).all()
    gates = GatesConfig(slices={"by": ("place", "item", "path_length"), "min_positives": 1, "floors": {"auc": 1}})
    judged = judge(frame, "last", gates, config.seed)
    assert {part.name for part in judged.slices if part.by == "place"} == {"top", "side", "feed"}
    assert judged.all.metrics["blessed"]["auc"] == pytest.approx(all_metrics(*_columns(frame))["auc"])
    assert any(reason.startswith("place = ") for reason in judged.reasons)
    labels, output = str(run / "labels"), tmp_path / "judge"
    assert retraining.judge_candidate(config, gates, labels, versions, str(output))["reasons"] == judged.reasons
    events = EventAccumulator(str(output / "events/blessed"), size_guidance={"tensors": 0}).Reload()
    assert set(events.Tags()["tensors"]) == {f"label_last/{metric}" for metric in ("auc", "gauc", "log_loss", "pcoc")}


def _columns(frame):
    user = pd.factorize(frame["user_id"])[0]
    return user, frame["label_last"].to_numpy(), frame["cvr_blessed"].to_numpy()


def test_errors_are_short_and_name_the_place(finished):
    project, config, _ = finished
    assert "did you mean '--runner'" in mal_tf("labels", config, "--runnr=DirectRunner", fails=True)
    assert "unknown flag '--outptu'; did you mean '--output'?" in mal_tf("run", config, "--outptu", "x", fails=True)
    missing = mal_tf(
        "predict", str(project.folder / "run/serving/mal"), str(project.folder / "clicks.parquet"), fails=True
    )
    assert "column 'clicked_items' is missing" in missing
    assert "Traceback" not in missing
    one_class = ["--set", "attribution.window_hours=0.0003", "--output", str(project.folder / "one")]
    assert "expected clicks of both classes under label_last" in mal_tf("run", config, *one_class, fails=True)


def test_schema_is_inferred_reviewed_and_then_stops_bad_data(finished):
    project, config, _ = finished
    schema, run = project.folder / "schema.pbtxt", str(project.folder / "run")
    setting = ["--set", "validation.schema_file=schema.pbtxt", "--output", run]
    assert "--infer-schema" in mal_tf("validate", config, *setting, fails=True)
    mal_tf("validate", config, *setting, "--infer-schema")
    text = schema.read_text()
    assert (
        text.count('not_in_environment: "SERVING"') == 14
    )  # ids, time, path_length, mature, five labels, four credits
    assert "No anomalies" in mal_tf("validate", config, *setting)
    schema.write_text(text.replace('value: "side"', 'value: "aside"'))
    stopped = mal_tf("run", config, *setting, fails=True)
    assert "feature 'place'" in stopped and "'side'" in stopped


def test_a_lost_output_is_made_again(finished):
    project, config, _ = finished
    run = project.folder / "run"
    shutil.rmtree(run / "serving/mal")
    (run / "evaluate/metrics.json").unlink()
    shown = mal_tf("run", config, "--output", str(run))
    assert "export/mal: started" in shown and "evaluate: started" in shown and "train/mal: started" not in shown
    assert (run / "serving/mal/1/saved_model.pb").exists()


def test_predict_of_nothing_of_garbage_and_into_nowhere(finished):
    project, _, _ = finished
    model, folder = str(project.folder / "run/serving/mal"), project.folder
    empty = next(p for p in (folder / "run/labels").glob("Split-*/*.gz") if p.stat().st_size < 100)
    assert predict(model, str(empty), str(folder / "none.csv")) == 0
    (folder / "garbage.tfrecord").write_bytes(b"garbage")
    with pytest.raises(MalTfError, match="can't be read as TFRecord"):
        predict(model, str(folder / "garbage.tfrecord"), str(folder / "none.csv"))
    with pytest.raises(MalTfError, match="its directory does not exist"):
        predict(model, str(empty), str(folder / "nowhere/none.csv"))
    of_others = tf.train.Example(features=tf.train.Features(feature={"colour": tf.train.Feature()})).SerializeToString()
    with tf.io.TFRecordWriter(str(folder / "others.tfrecord")) as writer:
        for _ in range(100):
            writer.write(of_others)
    with pytest.raises(MalTfError, match="expected features of the model .* found none of them but colour"):
        predict(model, str(folder / "others.tfrecord"), str(folder / "none.csv"))
    (folder / "wrong.csv").write_text("id,place,prize\n1,top,2\n")
    with pytest.raises(
        MalTfError, match="column 'clicked_items' is missing; found: id, place, prize; the model takes: "
    ):
        predict(model, str(folder / "wrong.csv"), str(folder / "none.csv"))
    (folder / "right.csv").write_text("id,place,price,item,clicked_items\n1,top,2,3,3|4\n")
    with pytest.raises(MalTfError, match="column 'idd' is missing; found: id, place"):
        predict(model, str(folder / "right.csv"), str(folder / "none.csv"), "idd")
    assert predict(model, str(folder / "right.csv"), str(folder / "ids.csv"), "id") == 1
    assert list(pd.read_csv(folder / "ids.csv")) == ["id", "cvr"]
    assert predict(model, str(folder / "right.csv"), str(folder / "ids.csv"), "item") == 1  # A feature too.
    assert list(pd.read_csv(folder / "ids.csv")) == ["item", "cvr"]
