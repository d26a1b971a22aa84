"""Runs that draw no journeys, that evaluate something else, that fail, or that go on from their own labels."""

import json
import logging
import pathlib

import pytest

from features.errors import MalTfError
from pipelines.config.run import load
from pipelines.evaluate import evaluate
from pipelines.evaluate.distributed import run as evaluation_job
from pipelines.labels.sources import MacSource
from pipelines.run import run
from tests.pipelines.evaluate.distributed.small import labelled, write_model


def test_logs_that_are_large_or_none_have_no_journeys_drawn(project, monkeypatch, caplog):
    config = load(project.write())
    monkeypatch.setattr(run, "_MAX_LOG_BYTES", 1000)
    with caplog.at_level(logging.INFO, "mal_tf.run"):
        assert run.Run(config, str(project.folder / "run")).journeys() is None
    assert "journeys: skipped, as the logs have" in caplog.text
    ready = config.model_copy(update={"sources": MacSource(adapter="mac", folder=str(project.folder))})
    assert run.Run(ready, str(project.folder / "run")).journeys() is None
    assert not (project.folder / "run").exists()


def test_another_target_or_served_model_is_another_evaluation(project, monkeypatch):
    """Though clicks and models are the same: the result says which label and whose differences it is about."""
    labels = labelled(str(project.folder / "labels"))
    versions = {name: write_model(str(project.folder / name)) for name in ("mal", "base")}
    made = {"target": "", "split": "", "served": "", "models": {}, "differences": {}}
    monkeypatch.setattr(evaluate, "run", lambda *_: made)
    labelled_metrics = {"labels": {"last": {"models": {"mal": {"auc": 0.7}}}}}
    monkeypatch.setattr(evaluation_job, "run", lambda *_, **__: labelled_metrics)
    found = set()
    for override in ("seed=17", "model.primary=linear", "model.name=base"):
        config = load(project.write(), [override, "model.compare_with=[]"])
        of_config = run.Run(config, str(project.folder / "run"))
        found |= {of_config.evaluation(labels=labels, versions=versions)}
        found |= {of_config.distributed_evaluation(labels=labels, versions=versions)}
    assert len(found) == 6
    events = list((project.folder / "run/evaluations").glob("distributed-*/events/mal/events.out.tfevents.*"))
    assert len(events) == 3  # For TensorBoard.


def test_a_damaged_log_takes_no_finished_labels_away(project):
    """It is found in the middle of the job, of which nothing is left."""
    directory = str(project.folder / "run")
    labels = run.Run(load(project.write()), directory).labels()
    before = {path: path.read_bytes() for path in pathlib.Path(labels).rglob("*") if path.is_file()}
    data = bytearray((project.folder / "clicks.parquet").read_bytes())
    data[100:400] = bytes(300)
    (project.folder / "clicks.parquet").write_bytes(data)
    with pytest.raises(MalTfError, match="clicks.parquet can't be read as parquet"):
        run.Run(load(str(project.folder / "config.yaml")), directory).labels()
    assert before == {path: path.read_bytes() for path in pathlib.Path(labels).rglob("*") if path.is_file()}


def test_labels_may_go_on_from_those_that_they_replace(project):
    """The fits and the vocabularies that are named are the run's own."""
    directory = str(project.folder / "run")
    labels = run.Run(load(project.write()), directory).labels()
    fit, own = (
        pathlib.Path(labels, "attribution/mta.json"),
        [f"attribution.fit_from={labels}", f"labels.grow_from={labels}"],
    )
    kept = json.loads(fit.read_text())
    config = load(str(project.folder / "config.yaml"), [*own, "labels.eval_from=2023-11-16T00:00:00Z"])
    run.Run(config, directory).labels()
    assert json.loads(fit.read_text()) == kept
    assert not (project.folder / "run/.previous/labels").exists()
