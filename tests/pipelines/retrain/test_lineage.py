"""Lineage of two spans, worked by hand."""

import pytest

from features.errors import MalTfError
from pipelines.retrain.lineage import generations, lineage
from tests.pipelines.retrain.stores import in_memory, record


@pytest.fixture(scope="module")
def history():
    found = in_memory()
    for config, day, blessed in (("c1", "2025-05-19", None), ("c2", "2025-05-20", "2025-05-19")):
        with found.run(day, config, f"r{config}") as run:
            record(run, day, blessed)
    with found.run("2025-05-20", "c2", "rc3") as run:  # Again: nothing new is made.
        record(run, "2025-05-20", "2025-05-19")
    return found


def _tree(node):
    return {part.artifact.uri.removeprefix("/root/"): _tree(part) for part in node.inputs}


def test_the_model_that_serves_is_traced_to_all_that_made_it(history):
    node = lineage(history, "/root/serving/2")
    fit = {"fits/may": {}}
    first_labels, labels = {"spans/2025-05-19/labels": fit}, {"spans/2025-05-20/labels": fit}
    first_model = {"spans/2025-05-19/train/mal": first_labels}
    model = {"spans/2025-05-20/train/mal": labels | first_model}
    first_export = {"spans/2025-05-19/serving/mal/1": first_model | first_labels}
    export = {"spans/2025-05-20/serving/mal/1": model | labels}
    judgement = {"spans/2025-05-20/judge": labels | export | first_export}
    assert _tree(node) == {"spans/2025-05-20/bless": judgement} | export
    assert (node.run.span, node.run.attempt, node.run.revision, node.stage.name) == ("2025-05-20", 1, "rc2", "push")


def test_what_two_stages_read_is_one_node(history):
    node = lineage(history, "/root/serving/2")
    blessing, export = node.inputs
    judgement = blessing.inputs[0]
    assert export in judgement.inputs
    assert judgement.inputs[0] is export.inputs[1]


def test_generations_follow_the_weights_not_what_was_judged_against(history):
    models = list(generations(lineage(history, "/root/serving/2")))
    assert [(model.run.span, model.run.config) for model in models] == [("2025-05-20", "c2"), ("2025-05-19", "c1")]
    assert models[1].inputs[0].artifact.properties["fitted_by"] == "/root/fits/may"


def test_a_version_served_again_is_the_model_it_is_a_copy_of():
    history = in_memory()
    with history.run("2025-05-19", "c1", "r1") as run:
        record(run, "2025-05-19")
    with history.run("rollback", "c1", "r1") as run, run.stage("rollback", ["/root/serving/1"]) as stage:
        stage.output("served", "/root/serving/3", "copy")
    models = list(generations(lineage(history, "/root/serving/3")))
    assert [model.artifact.uri for model in models] == ["/root/spans/2025-05-19/train/mal"]


def test_what_was_made_anew_is_traced_to_its_own_inputs():
    """Late logs: the same place, labelled again from other files."""
    history = in_memory()
    for logs in ("early", "late"):
        with history.run("2025-05-19", "c1", "r1") as run:
            with run.stage("labels", [f"/logs/{logs}"]) as stage:
                stage.output("labels", "/labels", logs)
            with run.stage("train/mal", ["/labels"]) as stage:
                stage.output("model", "/model", logs)
    assert _tree(lineage(history, "/model")) == {"/labels": {"/logs/late": {}}}


def test_a_long_chain_of_warm_starts_is_traced():
    history, previous = in_memory(), []
    with history.run("2025-05-19", "c", "r") as run:
        for number in range(1500):
            with run.stage(f"train/{number}", previous) as stage:
                stage.output("model", f"/models/{number}")
            previous = [f"/models/{number}"]
    assert len(list(generations(lineage(history, "/models/1499")))) == 1500


def test_unknown_places_are_named(history):
    with pytest.raises(MalTfError, match="/root/serving/9: expected an artifact of a recorded stage"):
        lineage(history, "/root/serving/9")
