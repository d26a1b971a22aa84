"""Outputs of two commits: equal ones, and each way to differ, on directories and a repository made by hand."""

import dataclasses
import gzip
import json
import subprocess

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from benchmarks import golden, golden_names, golden_scenarios, golden_trees
from benchmarks.golden_files import is_interval, lines
from benchmarks.golden_scenarios import KUAIRAND, SCENARIOS, Artefact, Scenario
from features import tfrecord
from features.errors import MalTfError
from features.keras2 import tf

RECORDS = "run/labels/Split-train/data_tfrecord-00000-of-00001.gz"
MANIFEST, REPORT = "run/labels/manifest.json", "run/labels/label_report.json"
WEIGHTS, METRICS, PREDICTIONS = (
    "run/train/mal/model.weights.h5",
    "run/evaluate/metrics.json",
    "run/evaluate/predictions.parquet",
)
TEXTS = {
    "run/labels/vocabulary/tab.txt": "home\nfeed\n",
    "run/labels/attribution/touchpoint.txt": "a\n",
    "run/labels/attribution/mta.json": json.dumps({"made_for": {"type": "shao_li"}, "fit": {"counts": [3, 4]}}),
    "run/statistics/FeatureStats.pb": "\x01",
    "run/validate/schema.pbtxt": "feature {}\n",
    "run/train/mal/training.json": json.dumps({"seconds": 1.5, "losses": {"last": 0.25}}),
    MANIFEST: json.dumps({"files": [{"path": "Split-train/one", "sha256": "ab"}], "seconds": 2}),
    REPORT: json.dumps({"clicks": {"read": 2, "written": 2}}),
    METRICS: json.dumps({"models": {"mal": {"auc": 0.5, "pcoc": 1}}, "intervals": {"mal": {"auc": {"low": 0.25}}}}),
}


def example(click, label):
    features = {
        "click_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[click])),
        "label_last": tf.train.Feature(float_list=tf.train.FloatList(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def write(path, made):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made) if isinstance(made, str) else path.write_bytes(made)


def write_weights(path, kernel, name="layers/dense/vars/0"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = np.array(kernel, np.float32)
        file["layers/dense/vars/1"] = np.zeros(2, np.float32)


def records(*labels, level=2):
    framed = tfrecord.frame([example(f"c{number}".encode(), label) for number, label in enumerate(labels)])
    return gzip.compress(framed, level, mtime=0)


@pytest.fixture
def made(tmp_path):
    """Two directories with the same outputs."""
    for side in ("before", "now"):
        for name, text in TEXTS.items():
            write(tmp_path / side / name, text)
        write(tmp_path / side / RECORDS, records(0.0, 1.0, 0.5))
        write_weights(tmp_path / side / WEIGHTS, [[1, 2], [3, 4]])
        pq.write_table(pa.table({"click_id": ["a", "b"], "cvr_mal": [0.25, 0.5]}), tmp_path / side / PREDICTIONS)
    return tmp_path


def compared(made, **options):
    rows = [golden.compare(one, "kuairand", made / "before", made / "now", **options) for one in KUAIRAND.artefacts]
    return {row.artefact: row for row in rows}


def only_difference(made):
    """The artefact that differs, and the first line about it."""
    (wrong,) = (row for row in compared(made).values() if row.differences)
    return wrong.artefact, wrong.differences[0]


def test_equal_outputs_are_equal_and_all_is_compared(made):
    rows = compared(made)
    assert {row.result for row in rows.values()} == {"equal"} and not list(golden.details(list(rows.values())))
    assert rows["labels"].compared == "3 records" and rows["trained weights"].compared == "6 numbers"
    assert rows["metrics"].compared == "2 values" and rows["intervals and p-values"].compared == "1 values"
    shown = golden.results_table(list(rows.values()), "title")
    assert ["kuairand: predictions", "1", "2 rows", "equal"] in shown.rows


def test_what_says_when_or_for_what_it_was_made_may_differ(made):
    write(made / "now" / MANIFEST, json.dumps({"files": [{"path": "Split-train/one", "sha256": "ab", "new": 1}]}))
    write(made / "now/run/train/mal/training.json", json.dumps({"seconds": 9, "losses": {"last": 0.25}}))
    write(made / "now/run/labels/attribution/mta.json", json.dumps({"made_for": {}, "fit": {"counts": [3, 4]}}))
    write_weights(made / "now" / WEIGHTS, [[1, 2], [3, 4]])
    assert {row.result for row in compared(made).values()} == {"equal"}


def test_a_differing_record_is_named_with_feature_and_values(made):
    write(made / "now" / RECORDS, records(0.0, 0.75, 0.5))
    assert only_difference(made) == ("labels", f"{RECORDS}: record 1: feature 'label_last': [1.0] before, [0.75] now")
    write(made / "now" / RECORDS, records(0.0, 1.0))
    assert only_difference(made) == ("labels", f"{RECORDS}: record 2: not there now")


def test_the_same_records_compressed_otherwise_differ(made):
    write(made / "now" / RECORDS, records(0.0, 1.0, 0.5, level=0))
    name, line = only_difference(made)
    assert name == "labels" and "records are equal, compressed bytes are not" in line


def test_a_differing_weight_is_named_with_place_and_values(made):
    write_weights(made / "now" / WEIGHTS, [[1, 2], [3.5, 4.25]])
    name, line = only_difference(made)
    assert name == "trained weights"
    assert line == (
        f"{WEIGHTS}: weight 'layers/dense/vars/0'[1, 0]: 3.0 before, 3.5 now; 2 of 4 numbers differ, by 0.5 at most"
    )
    write_weights(made / "now" / WEIGHTS, [[1, 2, 3, 4]])
    assert only_difference(made)[1].endswith("'layers/dense/vars/0': 'float32[2, 2]' before, 'float32[1, 4]' now")


def test_not_a_number_equals_itself_and_minus_zero_is_not_zero(made):
    for side in ("before", "now"):
        write_weights(made / side / WEIGHTS, [np.nan, 0])
    assert not compared(made)["trained weights"].differences
    write_weights(made / "now" / WEIGHTS, [np.nan, -0.0])
    assert "[1]: 0.0 before, -0.0 now" in only_difference(made)[1]


def test_a_renamed_weight_is_found_by_the_table_of_names(made, monkeypatch):
    write_weights(made / "now" / WEIGHTS, [[1, 2], [3, 4]], "layers/tower/vars/0")
    assert only_difference(made)[1].endswith("only before: layers/dense/vars/0; only now: layers/tower/vars/0")
    monkeypatch.setattr(golden_names, "WEIGHTS", [("dense/vars/0", "tower/vars/0")])
    assert not compared(made)["trained weights"].differences


def test_a_missing_file_differs_unless_it_has_moved(made, monkeypatch):
    (made / "now" / WEIGHTS).rename(made / "now/run/train/mal.weights.h5")
    assert only_difference(made) == ("trained weights", f"{WEIGHTS}: not there now")
    (made / "before" / WEIGHTS).rename(made / "before/run/train/mal.weights.h5")
    name, line = only_difference(made)
    assert name == "trained weights" and line.endswith("no such file, before or now")
    (made / "now/run/train/mal.weights.h5").rename(made / "now" / WEIGHTS)
    monkeypatch.setattr(golden_names, "PATHS", [(r"train/mal\.weights", "train/mal/model.weights")])
    assert not compared(made)["trained weights"].differences


def test_differing_metrics_intervals_and_predictions(made):
    metrics = json.loads(TEXTS[METRICS])
    metrics["models"]["mal"]["pcoc"] = 1.0
    write(made / "now" / METRICS, json.dumps(metrics))
    assert only_difference(made) == ("metrics", f"{METRICS}: models.mal.pcoc: 1 before, 1.0 now")
    write(made / "now" / METRICS, TEXTS[METRICS].replace("0.25", "0.125"))
    name, line = only_difference(made)
    assert (name, line) == ("intervals and p-values", f"{METRICS}: intervals.mal.auc.low: 0.25 before, 0.125 now")
    allowed = compared(made, allowed=True)[name]
    assert allowed.allowed and allowed.result == "differs, as allowed"
    write(made / "now" / METRICS, TEXTS[METRICS])
    pq.write_table(pa.table({"click_id": ["a", "b"], "cvr_mal": [0.25, 0.75]}), made / "now" / PREDICTIONS)
    assert only_difference(made)[1].endswith("column 'cvr_mal', row 1: 0.5 before, 0.75 now; 1 rows differ")


def test_what_the_bootstrap_makes():
    assert is_interval(("differences", "base", "auc", "p")) and is_interval(
        ("labels", "last", "intervals", "mal", "auc", "low")
    )
    assert is_interval(("all", "losses", "auc", "high")) and is_interval(("bootstrap", "samples"))
    assert not is_interval(("differences", "base", "auc", "difference"))
    assert not is_interval(("calibration", "mal", "3", "low"))


def test_reports_are_compared_by_what_both_have(made):
    write(made / "now" / REPORT, json.dumps({"clicks": {"read": 2, "written": 2, "repeated": 0}}))
    row = compared(made)["label report"]
    assert row.result == "equal" and row.notes == [f"{REPORT}: only now: clicks.repeated"]
    assert list(golden.details([row])) == [f"kuairand, label report: not compared: {REPORT}: only now: clicks.repeated"]
    write(made / "now" / REPORT, json.dumps({"clicks": {"read": 3}}))
    assert only_difference(made)[1] == f"{REPORT}: clicks.read: 2 before, 3 now"


def test_each_scenario_has_all_mechanisms_and_models_of_the_catalogs():
    from mal_tf.attribution.catalog import MECHANISMS
    from mal_tf.models.catalog import MODELS

    words = " ".join(SCENARIOS["market"].commands[1])
    assert all(f'"type": "{kind}"' in words for kind in MECHANISMS)
    assert {"mal", *golden_scenarios._MODELS} == set(MODELS)


PROGRAM = """
import pathlib, sys


def main():
    from words import WORD

    out = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
    (out / "word.txt").write_text(WORD)
"""
TINY = Scenario("tiny", [["run", "{tree}", "--output", "{out}"]], [Artefact("word", "word.txt", lines, "lines")], 1)


@pytest.fixture
def repository(tmp_path):
    """A repository whose `mal-tf` writes a word; one commit."""
    root = tmp_path / "repository"
    for name, text in {"setup.py": '"mal-tf=program:main"', "program.py": PROGRAM, "words.py": "WORD = 'old'"}.items():
        write(root / name, text)
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


def run(repository, place):
    said = []
    outs = golden.make(repository, golden_trees.commit_of(repository, "HEAD"), [TINY], place, 2, said.append)
    return golden.compare(TINY.artefacts[0], "tiny", *outs["tiny"]), " ".join(said)


def test_the_working_tree_against_a_commit_that_is_run_once(repository, tmp_path):
    row, said = run(repository, tmp_path / "kept")
    assert row.result == "equal" and said.count("done in") == 2
    write(repository / "words.py", "WORD = 'new'")
    row, said = run(repository, tmp_path / "kept")
    assert row.differences == ["word.txt: line 1: 'old' before, 'new' now"]
    assert said.count("done in") == 1 and "kept from an earlier run" in said


def test_a_difference_is_an_exit_code_unless_it_is_allowed(repository, tmp_path, monkeypatch, capsys):
    intervals = dataclasses.replace(TINY.artefacts[0], name=golden_scenarios.INTERVALS)
    monkeypatch.setattr(golden, "SCENARIOS", {"tiny": dataclasses.replace(TINY, artefacts=[intervals])})
    monkeypatch.setattr(golden, "ROOT", repository)
    monkeypatch.setattr(golden.signal, "signal", lambda *_: None)
    options = {"against": "HEAD", "keep": tmp_path / "kept"}
    golden.main(**options)
    assert "1 artefacts are equal" in capsys.readouterr().out
    write(repository / "words.py", "WORD = 'new'")
    golden.main(**options, intervals_may_differ=True)
    assert (
        "intervals and p-values: differs, as allowed: word.txt: line 1: 'old' before, 'new' now"
        in capsys.readouterr().out
    )
    with pytest.raises(typer.Exit) as error:
        golden.main(**options)
    assert error.value.exit_code == 1
    with pytest.raises(typer.BadParameter, match="--only small: expected one of tiny"):
        golden.main(only=["small"])


def test_a_module_that_the_tree_lacks_comes_from_nowhere_else(repository, tmp_path):
    write(repository / "words.py", "from mal_tf.errors import WORD")
    with pytest.raises(MalTfError, match=r"(?s)tiny, working tree: mal-tf run ended with 1.*No module named 'mal_tf'"):
        run(repository, tmp_path / "kept")


def test_an_earlier_spelling_is_tried_when_a_command_fails(repository, tmp_path, monkeypatch):
    write(repository / "program.py", PROGRAM.replace("--output", "--out"))
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "x"], cwd=repository, check=True
    )
    write(repository / "program.py", PROGRAM)
    monkeypatch.setattr(golden_names, "SETTINGS", [("--out", "--output")])
    assert run(repository, tmp_path / "kept")[0].result == "equal"


def test_an_unknown_revision_is_an_error(repository):
    with pytest.raises(MalTfError, match="no commit is called nowhere"):
        golden_trees.commit_of(repository, "nowhere")


def test_two_runs_do_not_share_a_folder(tmp_path):
    with (
        golden._alone(tmp_path),
        pytest.raises(MalTfError, match="in use by another golden run"),
        golden._alone(tmp_path),
    ):
        pass
