"""The job's own entry point, and the graph that Dataflow would get."""

import json

import pytest

from pipelines.config.run import load
from pipelines.core import beam_runner, dataflow
from pipelines.evaluate.distributed import run
from pipelines.evaluate.distributed.main import main
from tests.pipelines.evaluate.distributed.small import labelled, write_model
from tests.support.labels import tree

QUICK = "evaluation.slices=[path_length];evaluation.min_positives=1;evaluation.bootstrap_samples=2"
FLAGS = ("--runner=DataflowRunner", "--project=my-project", "--region=europe-west1", "--temp_location=gs://bucket/tmp")


@pytest.fixture
def given(project):
    """The flags of a job on small data."""
    directory = labelled(f"{project.folder}/labels", count=60)
    model = write_model(f"{project.folder}/models/base")
    return [
        f"--config={project.write()}",
        f"--labelled={directory}",
        f"--model=base={model}",
        f"--output={project.folder}/job",
        f"--set={QUICK}",
    ]


def test_writes_metrics_once_and_again_only_if_told_to(project, given, capsys):
    assert main([*given, "--shards=3"]) == 0
    result = json.loads((project.folder / "job/metrics.json").read_text())
    assert list(result["models"]) == ["base"]
    assert result["served"] == "base"
    assert main(given) == 1
    assert "finished already" in capsys.readouterr().err
    assert main([*given, "--split=train", "--overwrite"]) == 0
    assert json.loads((project.folder / "job/metrics.json").read_text())["split"] == "train"


@pytest.mark.parametrize("output", ["labels", "models/../labels/", "models/base", "models", "labels/evaluation"])
def test_an_output_over_what_is_evaluated_deletes_nothing(project, given, capsys, output):
    before = tree(project.folder)
    place = f"--output={project.folder}/{output}"
    assert main([*(flag for flag in given if "--output" not in flag), place, "--overwrite"]) == 1
    assert "expected a place apart from what is read" in capsys.readouterr().err
    after = tree(project.folder)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config=c.yaml"], "error: --output and --labelled and --model missing"),
        (
            ["--config=c", "--output=o", "--labelled=l", "--model=base"],
            "--model: expected NAME=SAVED_MODEL_DIR, found 'base'",
        ),
        (
            ["--config=c", "--output=o", "--labelled=l", "--model=a=1", "--model=a=2"],
            "--model: expected a different name for each export, found 'a' twice",
        ),
        (["--config=c", "--output=o", "--labeled=l"], "unknown flag '--labeled=l'; did you mean '--labelled'?"),
    ],
)
def test_wrong_flags_are_said_and_exit_with_1(capsys, flags, message):
    assert main(flags) == 1
    assert message in capsys.readouterr().err


def test_what_workers_elsewhere_would_not_find_is_refused(given, capsys):
    for said, flags in (
        ("output", given),
        ("labels", [f for f in given if "output" not in f] + ["--output=gs://bucket/job"]),
    ):
        assert main([*flags, *FLAGS]) == 1
        assert f"error: {said} /" in capsys.readouterr().err


def test_the_clicks_are_shuffled_once_by_user_and_once_by_prediction(project, given, monkeypatch):
    monkeypatch.setattr(beam_runner, "check_remote_paths", lambda *_: None)
    config = load(f"{project.folder}/config.yaml", QUICK.split(";"))
    models = {"base": f"{project.folder}/models/base"}
    job = run.Evaluation(config, f"{project.folder}/labels", models)
    graph = dataflow.graph(run.pipeline(job, "gs://bucket/job", [*FLAGS, "--dry_run=true"]))
    assert dataflow.steps(graph)[-1] == "Evaluation/Finish"
    of_clicks = [name for name in dataflow.shuffles(graph) if "Shuffle" in name and "Reshuffle" not in name]
    assert of_clicks == ["Evaluation/ShuffleByRange", "Evaluation/ShuffleByUser"]
    others = {name.split("/")[1].split(":")[0] for name in dataflow.shuffles(graph)} - {
        "ShuffleByRange",
        "ShuffleByUser",
    }
    assert others == {"Files", "Spread", "SpreadEarlier", "AddSeen", "Add", "AddExcess", "GroupNeighbours"}
