"""What `verify` says of stages as they were written, and of files that were changed since."""

import gzip
import json
import pathlib
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import MalTfError
from features.tfrecord import frame
from pipelines.core import files, manifest
from pipelines.core.layout import OF_NO_STAGE
from pipelines.core.stage_runner import StageRunner
from pipelines.run.verify import differences, verify

RECORDS = [bytes([number]) * number for number in range(200)]


def label_job(directory: str) -> None:
    """Label files, and a vocabulary, with a manifest as the label job writes it."""
    manifest.begin(directory, overwrite=True)
    files.write_bytes(f"{directory}/Split-eval/clicks.gz", gzip.compress(frame(RECORDS)))
    files.write_text(f"{directory}/vocabulary/place.txt", "top\nside\n")
    (entry,) = manifest.describe(directory, ["Split-eval/clicks.gz"])
    other = manifest.describe(directory, ["vocabulary/place.txt"])
    manifest.finish(directory, {"made_from": "logs", "files": [entry | {"rows": len(RECORDS)}], "other_files": other})


@pytest.fixture
def run(tmp_path):
    """A run with labels, a training, and an export."""
    runner = StageRunner(str(tmp_path / "run"))

    def export(directory: str) -> dict:
        for path in ("saved_model.pb", "variables/data"):
            files.write_text(f"{runner.path('serving/mal/2')}/{path}", path)
        paths = [f"../../serving/mal/2/{path}" for path in ("saved_model.pb", "variables/data")]
        return {manifest.ELSEWHERE: manifest.describe(directory, paths)}

    with runner.opened("shop", "name: shop\n"):
        label_job(runner.path("labels"))
        runner.run("train/mal", [], lambda output: files.write_text(f"{output}/model.weights.h5", "weights"))
        runner.run("export/mal", [], export)
    files.write_text(runner.path("report.html"), "<html>")
    files.write_text(runner.path("checkpoints/mal/x/checkpoint"), "unfinished training")
    files.write_text(runner.path("serving/mal/1/saved_model.pb"), "of an earlier training")
    return tmp_path / "run"


def test_a_run_as_it_was_written_differs_in_nothing(run):
    checked = verify(str(run))
    assert differences(checked) == []
    assert [(one.name, one.files, one.hashed, one.note) for one in checked] == [
        ("export/mal", 2, 2, ""),
        ("labels", 2, 2, ""),
        ("train/mal", 1, 1, ""),
        ("serving/mal/1", 0, 0, "exported earlier, listed by no manifest: not checked"),
    ]
    for stage in ("labels", "export/mal", "train/mal"):
        (one,) = verify(str(run / stage))
        assert (one.name, one.problems) == (".", []) and one.hashed


@pytest.mark.parametrize(
    ("path", "content", "problem"),
    [
        ("train/mal/model.weights.h5", b"WEIGHTS", "its content is another: sha256 differs"),
        ("train/mal/model.weights.h5", b"longer weights", "expected 7 bytes, found 14"),
        ("train/mal/model.weights.h5", None, "is missing"),
        ("train/mal/notes.txt", b"", "is listed by no manifest.json"),
        ("train/mal/manifest.json", b"", "is empty or cut"),
        ("serving/mal/2/variables/data", b"variables/DATA", "its content is another: sha256 differs"),
        ("serving/mal/2/variables/data", None, "is missing"),
        ("serving/mal/2/variables/more", b"", "is no file of this export"),
        ("labels/vocabulary/place.txt", b"top\nside", "expected 9 bytes, found 8"),
        ("labels/vocabulary/item.txt", b"", "is listed by no manifest.json"),
        ("clicks.csv", b"", "is listed by no manifest.json"),
        ("evaluate/metrics.json", b"", "is listed by no manifest.json"),
    ],
)
def test_what_differs_is_named(run, path, content, problem):
    if content is None:
        (run / path).unlink()
    else:
        (run / path).parent.mkdir(exist_ok=True)
        (run / path).write_bytes(content)
    assert f"{path}: {problem}" in differences(verify(str(run)))
    assert {line.split(": ")[0] for line in differences(verify(str(run)))} == {path}


@pytest.mark.parametrize("kept", [0, 100, 199])
def test_rows_are_counted_even_if_size_and_hash_agree(run, kept):
    path, stated = run / "labels/Split-eval/clicks.gz", json.loads((run / "labels/manifest.json").read_text())
    path.write_bytes(gzip.compress(frame(RECORDS[:kept])))
    stated["files"][0] |= manifest.describe(str(run / "labels"), ["Split-eval/clicks.gz"])[0]
    (run / "labels/manifest.json").write_text(json.dumps(stated))
    (line,) = differences(verify(str(run)))
    assert line.startswith(f"labels/Split-eval/clicks.gz: expected 200 records, as its manifest says, found {kept}")


def test_manifests_of_before_are_valid_and_what_can_not_be_checked_is_said(run):
    for path in run.rglob("manifest.json"):
        stated = json.loads(path.read_text())
        for entry in manifest.entries(stated):
            entry.pop("sha256")
        stated["result"] = {}
        path.write_text(json.dumps(stated))
    checked = {one.name: one for one in verify(str(run))}
    assert differences([*checked.values()]) == []
    assert checked["train/mal"].note == "1 files without a recorded sha256: size only"
    assert checked["serving/mal/2"].note.endswith("not checked")


@pytest.mark.parametrize("name", sorted(OF_NO_STAGE))
def test_files_of_a_run_that_are_of_no_stage_are_no_strays(run, name):
    files.write_text(f"{run}/{name}", "{}")
    files.write_text(f"{run}/train/mal/{name}", "{}")
    assert differences(verify(str(run))) == [f"train/mal/{name}: is listed by no manifest.json"]


def test_the_plan_of_a_span_lies_beside_the_labels(tmp_path):
    """As TFX's label component writes it."""
    label_job(str(tmp_path))
    files.write_text(f"{tmp_path}/planned.json", "{}")
    files.write_text(f"{tmp_path}/vocabulary/planned.json", "{}")
    assert differences(verify(str(tmp_path))) == ["vocabulary/planned.json: is listed by no manifest.json"]


def test_unfinished_stages_are_said_and_other_tools_files_are_not_ours(run):
    manifest.begin(str(run / "evaluate"), overwrite=False)
    files.write_text(str(run / "evaluate/predictions.parquet"), "half")
    checked = verify(str(run))
    assert differences(checked) == [] and [one.note for one in checked if one.name == "evaluate"] == [
        "unfinished: not checked"
    ]
    other = run.parent / "site"
    shutil.copytree(run / "serving", other)
    (other / "manifest.json").write_text('{"name": "shop", "start_url": "/"}')
    with pytest.raises(MalTfError, match=r"site: expected the directory of a run or of a finished stage, found no"):
        verify(str(other))


def test_parquet_files_of_a_market_have_their_rows(tmp_path):
    directory = str(tmp_path / "market")
    manifest.begin(directory, overwrite=False)
    pq.write_table(pa.table({"id": [1, 2, 3]}), tmp_path / "market/clicks.parquet")
    entries = [entry | {"rows": 4} for entry in manifest.describe(directory, ["clicks.parquet"])]
    manifest.finish(directory, {"made_from": "market", "files": entries})
    assert differences(verify(directory)) == ["clicks.parquet: expected 4 rows, found 3"]


def test_the_command_names_the_file_and_exits_with_1(run):
    def command() -> subprocess.CompletedProcess:
        words = [sys.executable, "-m", "pipelines.cli", "verify", str(run)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    whole = command()
    assert whole.returncode == 0 and "as written" in whole.stdout, whole.stderr
    weights = pathlib.Path(run, "train/mal/model.weights.h5")
    weights.write_text("WEIGHTS")
    changed = command()
    assert changed.returncode == 1
    assert "train/mal/model.weights.h5: its content is another" in changed.stdout
    assert "files differ from the manifests (1); the first: train/mal/model.weights.h5" in changed.stderr.replace(
        "\n", " "
    )
