"""`model.auxiliaries: auto` from the config to the evaluation."""

import json

import pytest

from features.errors import MalTfError
from pipelines.cli import app
from pipelines.config.run import load
from pipelines.run.run import Run
from pipelines.train import export, stages
from tests.support.checks import in_this_process


def choice(gain: bool) -> dict:
    return {
        "auxiliaries": ["first"] if gain else [],
        "gains": {"first": {"gain": 0.1, "low": 0.05 if gain else -0.1, "high": 0.2, "chosen": gain}},
        "judged_batches": 50,
    }


@pytest.fixture
def run(project, monkeypatch):
    """Brings a run of two mechanisms up to date with more options, in this process."""
    monkeypatch.setattr(export.check, "verify", in_this_process)
    project.config["attribution"]["mechanisms"] = project.config["attribution"]["mechanisms"][:2]
    project.config["model"] |= {"name": "shared_bottom", "compare_with": [], "auxiliaries": "auto"}
    project.config["training"]["batch_size"] = 8
    project.write()

    def run(*options, evaluate=False):
        started = Run(load(str(project.folder / "config.yaml"), options), str(project.folder / "run"))
        with started.opened():
            started.train("shared_bottom")
            if evaluate:
                started.evaluate()
        return started

    return run


def test_measures_chooses_and_trains_on_the_choice(project, run, capsys):
    found = run(evaluate=True).auxiliaries()
    assert set(found["gains"]) == {"first"}
    assert found["auxiliaries"] == [name for name, gain in found["gains"].items() if gain["chosen"]]
    losses = json.loads((project.folder / "run/train/shared_bottom/training.json").read_text())["losses"]
    assert set(losses) == {"last", *found["auxiliaries"]}
    app(["train", str(project.folder / "config.yaml"), "--output", str(project.folder / "run")], standalone_mode=False)
    assert "order of choice" in capsys.readouterr().out


def test_training_depends_on_the_choice_alone(project, run, monkeypatch):
    asked = []

    def chosen(config, labels):
        asked.append(config.seed)
        return choice(gain=config.seed == 17)

    monkeypatch.setattr(stages, "choose_auxiliaries", chosen)
    training = project.folder / "run/train/shared_bottom/training.json"
    run()
    assert set(json.loads(training.read_text())["losses"]) == {"first", "last"}
    before = training.stat().st_mtime_ns
    run("evaluation.bootstrap_samples=5", "export.warmup_requests=1")  # Nothing of training changed.
    run("model.auxiliaries=[first]")  # What was chosen, by name.
    assert (asked, training.stat().st_mtime_ns) == ([17], before)
    run("seed=18")
    assert asked == [17, 18]
    assert set(json.loads(training.read_text())["losses"]) == {"last"}


def test_too_few_batches_say_what_to_do(run):
    with pytest.raises(MalTfError, match="lower training.batch_size, or name the auxiliaries"):
        run("training.batch_size=512")
