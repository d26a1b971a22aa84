"""Bad input is said; afterwards the output is complete or has no manifest."""

import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from features.errors import MalTfError
from pipelines.config.run import load
from pipelines.core import manifest
from pipelines.evaluate import evaluate
from pipelines.evaluate.distributed import run, steps
from tests.pipelines.evaluate.distributed.small import clicks, labelled, write_labels, write_model
from tests.support.labels import tree
from tests.support.project import START

QUICK = ("evaluation.slices=[path_length]", "evaluation.min_positives=1", "evaluation.bootstrap_samples=2")


@pytest.fixture
def model(tmp_path):
    return write_model(f"{tmp_path}/models/mal")


def evaluation(project, directory, versions, *overrides):
    return run.Evaluation(load(project.write(), [*QUICK, *overrides]), directory, versions, shards=2)


def fails(project, directory, versions, message, *overrides):
    output = f"{project.folder}/job"
    with pytest.raises(MalTfError, match=message):
        run.run(evaluation(project, directory, versions, *overrides), output)
    with pytest.raises(MalTfError, match=r"found no manifest\.json"):
        manifest.read(output)
    assert not set(tree(project.folder / "job")) - {"_INCOMPLETE"}


def test_a_model_that_fails_is_named_with_the_file(project, model):
    day = clicks(np.random.default_rng(0), 50, 9, START)
    dear = day.set_column(day.column_names.index("price"), "price", pa.array(np.full(50, 1e6, np.float32)))
    directory = write_labels(f"{project.folder}/labels", {"train": [day], "eval": [day, dear]}, parts=1)
    broken = write_model(f"{project.folder}/models/broken", broken=1e5)
    message = r"model 'broken' can't score .*/Split-eval/data_tfrecord-00001.gz: .*the price is too high"
    fails(project, directory, {"mal": model, "broken": broken}, message)


def test_a_model_whose_prediction_is_no_number_is_named(project, model):
    directory = labelled(f"{project.folder}/labels", count=50)
    nothing = write_model(f"{project.folder}/models/nothing", slope=float("nan"))
    fails(project, directory, {"mal": model, "nothing": nothing}, "model 'nothing': a prediction for .* is nan")


def test_what_is_no_model_or_no_label_job_is_said_at_once(project, model):
    directory = labelled(f"{project.folder}/labels", count=50)
    for versions, where, message in (
        ({"mal": f"{project.folder}/none"}, directory, "model 'mal': expected a SavedModel in .*none, found no"),
        ({"mal": model}, f"{project.folder}/none", "none: expected .*, found no manifest.json"),
    ):
        with pytest.raises(MalTfError, match=message):
            run.run(evaluation(project, where, versions), f"{project.folder}/job")
    assert not (project.folder / "job").exists()


def test_labels_of_other_mechanisms_are_said(project, model):
    directory = labelled(f"{project.folder}/labels", count=50)
    project.config["attribution"]["mechanisms"].append({"name": "decay", "type": "time_decay"})
    with pytest.raises(MalTfError, match="expected column label_decay of the config, found: label_first, label_last"):
        run.run(evaluation(project, directory, {"mal": model}), f"{project.folder}/job")


def with_all(day, column, value):
    """Clicks that are mature, with one value in a column."""
    for name, one in (("mature", 1), (column, value)):
        place, kind = day.column_names.index(name), day.schema.field(name).type
        day = day.set_column(place, name, pa.array([one] * day.num_rows, kind))
    return day


def test_nothing_to_measure_is_said(project, model):
    day = clicks(np.random.default_rng(0), 50, 9, START)
    parts = {"train": [with_all(day, "mature", 1)], "eval": [with_all(day, "mature", 0)]}
    message = "eval split: expected mature clicks to evaluate, found none"
    fails(project, write_labels(f"{project.folder}/labels", parts), {"mal": model}, message)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_clicks_of_one_class_are_evaluated_as_they_are_locally(project, model, value):
    day = clicks(np.random.default_rng(0), 50, 9, START)
    parts = {"train": [with_all(day, "mature", 1)], "eval": [with_all(day, "label_last", value)]}
    directory = write_labels(f"{project.folder}/labels", parts)
    one = evaluation(project, directory, {"mal": model})
    found = run.run(one, f"{project.folder}/job")
    local = evaluate.run(one.config, directory, {"mal": model}, f"{project.folder}/local")
    without = [{name for name, of in result["models"]["mal"].items() if of is None} for result in (found, local)]
    assert without[0] == without[1] >= {"auc", "gauc"}
    assert [note for note in found["notes"] if "label_last: no value of AUC" in note]


def test_a_split_without_clicks_is_said(project, model):
    day = clicks(np.random.default_rng(0), 50, 9, START)
    for number, days in enumerate(([], [day.slice(0, 0)])):
        directory = write_labels(f"{project.folder}/labels{number}", {"train": [day], "eval": days})
        message = "eval split: expected mature clicks to evaluate, found none"
        fails(project, directory, {"mal": model}, message, "evaluation.slices=[path_length, price]")


def test_a_file_that_was_cut_is_named(project, model):
    directory = labelled(f"{project.folder}/labels", count=50)
    path = project.folder / "labels/Split-eval/data_tfrecord-00001.gz"
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    fails(project, directory, {"mal": model}, "data_tfrecord-00001.gz can't be read as labelled tf.Examples")


KILLED = """
import os, signal, sys
from pipelines.core import manifest
from pipelines.config.run import load
from pipelines.evaluate import evaluate
from pipelines.evaluate.distributed import run

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

manifest.finish = die
config, labels, model, output = sys.argv[1:5]
run.run(run.Evaluation(load(config, sys.argv[5:]), labels, {"mal": model}), output, overwrite=True)
"""


def test_killed_before_the_manifest_and_run_again(project, model):
    directory, config = labelled(f"{project.folder}/labels", count=50), project.write()
    output = project.folder / "job"
    command = [sys.executable, "-c", KILLED, config, directory, model, str(output), *QUICK]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (output / "manifest.json").exists()
    run.run(evaluation(project, directory, {"mal": model}), str(output))
    assert set(tree(output)) == {"manifest.json", "metrics.json"}


@pytest.mark.parametrize("step", [steps.Users, steps.Ranges, steps.Calibrate])
def test_a_bundle_that_fails_once_and_is_tried_again_changes_nothing(project, model, monkeypatch, step):
    directory = labelled(f"{project.folder}/labels", count=50)
    run.run(evaluation(project, directory, {"mal": model}), f"{project.folder}/once")
    process, failed = step.process, []

    def try_twice(self, element, *sides):
        # What a runner does: the first attempt's side effects stay, its outputs are thrown away.
        with pytest.raises(ConnectionError):
            list(process(self, element, *sides))
            failed.append(element)
            raise ConnectionError("worker lost")
        yield from process(self, element, *sides)

    monkeypatch.setattr(step, "process", try_twice)
    run.run(evaluation(project, directory, {"mal": model}), f"{project.folder}/again")
    assert failed
    assert tree(project.folder / "once") == tree(project.folder / "again")
