"""What a process that is not the chief does while the chief works; runs that draw no journeys."""

import json
import logging
import pathlib
import time

import pytest

from features.errors import MalTfError
from mal_tf.training.cluster import Cluster
from pipelines.config.run import load
from pipelines.core import manifest
from pipelines.labels.sources import MacSource
from pipelines.run import run, run_directory
from tests.pipelines.evaluate.distributed.small import labelled, write_model


def test_waiting_for_the_chief_is_said_every_minute_and_ends(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(run_directory, "LONGEST_WAIT", 150)
    other, output = run.Run(None, str(tmp_path), cluster=Cluster(chief=False)), str(tmp_path / "labels")
    manifest.begin(output, overwrite=False)
    manifest.finish(output, {"made_from": "another config"})
    with (
        caplog.at_level(logging.INFO, "mal_tf.run"),
        pytest.raises(MalTfError, match=r"labels: expected the chief .* within 150 s; see the chief's log"),
    ):
        other._needed("labels", output, "this config")
    assert caplog.text.count("waiting for the chief to finish") == 3


def test_waiting_ends_when_the_chief_has_finished(tmp_path, monkeypatch):
    output = str(tmp_path / "labels")
    manifest.begin(output, overwrite=False)
    monkeypatch.setattr(time, "sleep", lambda _: manifest.finish(output, {"made_from": "this config"}))
    other = run.Run(None, str(tmp_path), cluster=Cluster(chief=False))
    assert not other._needed("labels", output, "this config")


def test_logs_that_are_large_or_none_have_no_journeys_drawn(project, monkeypatch, caplog):
    config = load(project.write())
    monkeypatch.setattr(run, "_LARGE_LOGS", 1000)
    with caplog.at_level(logging.INFO, "mal_tf.run"):
        assert run.Run(config, str(project.folder / "run")).journeys() is None
    assert "journeys: skipped, as the logs are" in caplog.text
    ready = config.model_copy(update={"sources": MacSource(adapter="mac", folder=str(project.folder))})
    assert run.Run(ready, str(project.folder / "run")).journeys() is None
    assert not (project.folder / "run").exists()


def test_another_target_or_served_model_is_another_evaluation(project, monkeypatch):
    """Though clicks and models are the same: the result says which label and whose differences it is about."""
    labels = labelled(str(project.folder / "labels"))
    versions = {name: write_model(str(project.folder / name)) for name in ("mal", "base")}
    made = {"target": "", "split": "", "served": "", "models": {}, "differences": {}}
    monkeypatch.setattr(run.evaluate, "evaluate", lambda *_: made)
    labelled_metrics = {"labels": {"last": {"models": {"mal": {"auc": 0.7}}}}}
    monkeypatch.setattr(run.evaluation_job, "run", lambda *_, **__: labelled_metrics)
    found = set()
    for override in ("seed=17", "model.primary=linear", "model.name=base"):
        config = load(project.write(), [override, "model.compare_with=[]"])
        of_config = run.Run(config, str(project.folder / "run"))
        found |= {of_config.evaluation(labels=labels, versions=versions)}
        found |= {of_config.distributed_evaluation(labels=labels, versions=versions)}
    assert len(found) == 6
    events = list((project.folder / "run/evaluations").glob("distributed-*/events/mal/events.out.tfevents.*"))
    assert len(events) == 3  # For TensorBoard.


def test_a_directory_of_another_run_is_not_written_over(project):
    directory = str(project.folder / "run")
    for name in ("shop", "shop"):
        with run.Run(load(project.write(), [f"name={name}"]), directory).opened():
            pass
    other = run.Run(load(project.write(), ["name=market"]), directory)
    with (
        pytest.raises(MalTfError, match="run holds run 'shop', and the config is of 'market'; choose another"),
        other.opened(),
    ):
        pass
    assert "name: shop" in (project.folder / "run/config.yaml").read_text()


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


def test_the_error_that_a_command_ended_with_stays_until_one_ends_well(project):
    of_run, failed = run.Run(load(project.write()), str(project.folder / "run")), project.folder / "run/failed.txt"
    with pytest.raises(MalTfError), of_run.opened():
        raise MalTfError("bad input")
    assert failed.read_text() == "bad input\n"
    with of_run.opened():
        assert failed.exists()
    assert not failed.exists()


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
