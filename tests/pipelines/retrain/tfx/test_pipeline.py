"""The TFX pipeline: compiled, and run beside the local runner; only where TFX is installed (`make test-tfx`)."""

import datetime
import json
import pathlib
import sys

import pytest
import yaml

from features.errors import MalTfError
from pipelines.config.run import CalibrationConfig
from pipelines.retrain import blessing, schedule, serving
from pipelines.retrain.config import load
from pipelines.retrain.planning import Refused, base_from, plan_span
from pipelines.studies.simulation.config import load as load_market
from pipelines.studies.simulation.run import run as simulate

tfx_pipeline = pytest.importorskip(
    "pipelines.retrain.tfx.pipeline", reason="TFX is not installed; `make test-tfx` makes an environment with it"
)

EXAMPLES = pathlib.Path(__file__).parents[4] / "examples"
FIRST, SECOND = (
    datetime.date(2024, 1, 9),
    datetime.date(2024, 1, 10),
)  # A whole week trains, for the schema to know its days.
DRIFT = {"l_infinity": None, "new_tokens": None, "jensen_shannon": None, "presence": None}


@pytest.fixture(scope="module")
def schedules(tmp_path_factory):
    """Loads schedules on a small market's logs, of whatever root."""
    folder = tmp_path_factory.mktemp("market")
    market = ["users=1500", "clicks=16000", "days=10", "window_hours=24", "daily_logs=true"]
    simulate(load_market(str(EXAMPLES / "simulation" / "market.yaml"), market), str(folder / "logs"))
    keys = yaml.safe_load((EXAMPLES / "retraining" / "market.yaml").read_text()) | {
        "run": "logs/config.yaml",
        "checks": {"drift": DRIFT, "rows": [0, 100], "positives": [0, 100]},
        "gates": {"floors": {}, "pcoc": None, "allowed_loss": {}},
        "infra": {"rows": 10, "calls": 5},
    }
    keys["overrides"] += ["model.embedding_dim=4", "model.bottom_units=[8]", "model.tower_units=[4]"]
    (folder / "daily.yaml").write_text(yaml.safe_dump(keys))
    return lambda root: load(str(folder / "daily.yaml"), [f"root={folder / root}"])


@pytest.fixture(scope="module")
def compiled(schedules, tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "pipeline.json"
    arguments = (*schedules("/gcs/bucket/daily"), False, "gs://bucket/tfx", "mal-tf:1", str(path))
    if sys.version_info >= (3, 12):
        with pytest.raises(MalTfError, match="compile there"):
            tfx_pipeline.compile_to(*arguments)
        pytest.skip("the kfp that TFX takes needs Python 3.10 or 3.11")
    tfx_pipeline.compile_to(*arguments)
    return json.loads(path.read_text())


def test_compiled_components(compiled):
    executors = compiled["pipelineSpec"]["deploymentSpec"]["executors"]
    found = {name: executor.get("container", {}).get("args", ["", ""])[1] for name, executor in executors.items()}
    assert {name.removesuffix("_executor"): path for name, path in found.items() if path} == {
        "label": "pipelines.retrain.tfx.components.label_Executor",
        "StatisticsGen": "tfx.components.statistics_gen.executor.Executor",
        "schema": "pipelines.retrain.tfx.components.schema_Executor",
        "ExampleValidator": "tfx.components.example_validator.executor.Executor",
        "check": "pipelines.retrain.tfx.components.check_Executor",
        "Trainer": "tfx.components.trainer.executor.GenericExecutor",
        "infra": "pipelines.retrain.tfx.components.infra_Executor",
        "judge": "pipelines.retrain.tfx.components.judge_Executor",
        "Pusher": "pipelines.retrain.tfx.push.Executor",
    }
    assert {executor["container"]["image"] for executor in executors.values() if "container" in executor} == {
        "mal-tf:1"
    }


def test_compiled_edges(compiled):
    tasks = compiled["pipelineSpec"]["root"]["dag"]["tasks"]
    edges = {
        f"{inputs['taskOutputArtifact']['producerTask']}.{inputs['taskOutputArtifact']['outputArtifactKey']} > {task}.{name}"
        for task, found in tasks.items()
        for name, inputs in found.get("inputs", {}).get("artifacts", {}).items()
    }
    model, blessing = "LatestBlessed-model-resolver.model", "LatestBlessed-model-blessing-resolver.model_blessing"
    assert edges == {
        "LatestBlessed-model-blessing-resolver.model_blessing > LatestBlessed-model-resolver.input",
        *(f"{model} > {to}" for to in ("label.base", "Trainer.base_model", "judge.base")),
        *(f"{blessing} > {to}.blessing" for to in ("label", "schema", "check")),
        *(
            f"label.examples > {to}.examples"
            for to in ("StatisticsGen", "schema", "check", "Trainer", "infra", "judge")
        ),
        *(f"StatisticsGen.statistics > {to}.statistics" for to in ("schema", "ExampleValidator", "check", "judge")),
        *(f"schema.schema > {to}.schema" for to in ("ExampleValidator", "check", "Trainer", "judge")),
        "ExampleValidator.anomalies > check.anomalies",
        *(f"Trainer.model > {to}.model" for to in ("infra", "judge", "Pusher")),
        "infra.blessing > judge.tried",
        "infra.blessing > Pusher.infra_blessing",
        "judge.blessing > Pusher.model_blessing",
    }
    assert "check" in tasks["Trainer"]["dependentTasks"]  # It hands nothing on, but stops the run.


def test_the_compiled_span_is_a_parameter(compiled):
    root = compiled["pipelineSpec"]["root"]
    assert root["inputDefinitions"]["parameters"] == {"span": {"type": "STRING"}}
    assert root["dag"]["tasks"]["label"]["inputs"]["parameters"]["span"] == {"componentInputParameter": "span"}


def test_a_reviewed_schema_is_imported_and_tensorflow_serving_tries_the_model(schedules, tmp_path):
    (tmp_path / "schema.pbtxt").touch()
    config, run = schedules("unused")
    reviewed = run.validation.model_copy(update={"schema_file": str(tmp_path / "schema.pbtxt")})
    run = run.model_copy(update={"validation": reviewed})
    built = tfx_pipeline.build(config, run, str(FIRST), True, str(tmp_path), tensorflow_serving="2.16.1")
    kinds = [type(component).__name__ for component in built.components]
    assert {"ImportSchemaGen", "InfraValidator"} <= set(kinds)
    assert not {"schema", "infra"} & set(kinds)


def test_delayed_feedback_is_refused(schedules, tmp_path):
    config, run = schedules("unused")
    with pytest.raises(MalTfError, match="immature: expected wait or mark, found delayed_feedback"):
        tfx_pipeline.build(config.model_copy(update={"immature": "delayed_feedback"}), run, "", True, str(tmp_path))


@pytest.mark.slow
def test_spans_are_judged_as_by_the_local_runner(schedules):
    """A first span and one that starts from it and is refused: what both runners measure is the same, to the last bit."""
    (config, run), (here, _) = schedules("tfx"), schedules("here")
    with pytest.raises(MalTfError, match="needs --first"):
        tfx_pipeline.run_here(config, run, str(FIRST), first=False)
    pushed = tfx_pipeline.run_here(config, run, str(FIRST), first=True)
    expected = schedule.retrain(here, run, FIRST, first=True)
    keys = ("span", "train", "trained_until", "fit_span")
    assert {key: pushed.lineage[key] for key in keys} == {key: expected.lineage[key] for key in keys}
    assert judged(config, FIRST) == judged(here, FIRST)

    strict = {"gates": config.gates.model_copy(update={"floors": {"auc": 0.999}})}
    with pytest.raises(Refused, match=r"auc .* is below 0\.999"):
        tfx_pipeline.run_here(config.model_copy(update=strict), run, str(SECOND), first=False)
    with pytest.raises(Refused):
        schedule.retrain(here.model_copy(update=strict), run, SECOND)
    found = judged(config, SECOND)
    assert found == judged(here, SECOND)
    assert set(found["metrics"]) == {"candidate", "blessed"}
    assert serving.versions(f"{config.root}/serving") == [pushed]
    third = [
        plan_span(config, run, SECOND + datetime.timedelta(days=1), base_from(one), False) for one in (pushed, expected)
    ]
    assert [days.train for days, _ in third] == [(datetime.date(2024, 1, 9),)] * 2  # Without the refused day.


@pytest.mark.slow
def test_a_calibrated_span_is_judged_as_by_the_local_runner(schedules):
    (config, run), (here, _) = schedules("tfx_calibrated"), schedules("here_calibrated")
    calibration = CalibrationConfig(method="isotonic", by="industry", min_positives=20)
    run = run.model_copy(update={"calibration": calibration})
    pushed = tfx_pipeline.run_here(config, run, str(FIRST), first=True)
    expected = schedule.retrain(here, run, FIRST, first=True)
    keys = ("train", "trained_until", "left_out")
    assert {key: pushed.lineage[key] for key in keys} == {key: expected.lineage[key] for key in keys}
    assert expected.lineage["trained_until"] == "2024-01-06"  # The 7th calibrates, the 8th judges.
    assert judged(config, FIRST) == judged(here, FIRST)


def judged(config, span):
    return blessing.read(f"{config.root}/spans/{span}/bless").facts["all"]
