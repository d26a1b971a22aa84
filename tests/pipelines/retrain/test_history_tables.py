"""What people see of the history."""

import io

import pytest
from rich.console import Console

from features.errors import MalTfError
from pipelines.retrain import history_tables
from pipelines.retrain.serving import Version
from tests.pipelines.retrain.stores import in_memory, record


@pytest.fixture(scope="module")
def history():
    found = in_memory()
    with found.run("2025-05-19", "c" * 64, "d" * 40) as run:
        record(run, "2025-05-19")
    with pytest.raises(MalTfError), found.run("2025-05-20", "c" * 64, "e" * 40) as run, run.stage("checks"):
        raise MalTfError("price: drift 0.31 > 0.1 [eval]")
    with found.run("2025-05-20", "f" * 64, "e" * 40) as run:
        record(run, "2025-05-20", "2025-05-19")
    return found


def _shown(show, *arguments) -> list[str]:
    console = Console(width=250, record=True, file=io.StringIO())
    show(console, *arguments)
    return [" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()]


def test_runs_with_outcome_and_reasons(history):
    lines = _shown(history_tables.show_runs, history)
    rows = [line.split() for line in lines if line.startswith("2025-")]
    assert [row[:2] for row in rows] == [["2025-05-19", "1"], ["2025-05-20", "1"], ["2025-05-20", "2"]]
    assert [" ".join(row[6:]) for row in rows] == [
        "pushed all gates passed",
        "failed price: drift 0.31 > 0.1 [eval]",
        "pushed all gates passed",
    ]


def test_rollbacks_stand_below_the_runs(history):
    copy = Version(3, "/root/serving/3", {"span": "2025-05-19", "rolled_back_from": 2, "copy_of": 1})
    lines = _shown(history_tables.show_runs, history, [Version(1, "/root/serving/1", {"span": "2025-05-19"}), copy])
    assert "version 3: rolled back from version 2 to 1, the model of span 2025-05-19" in lines
    assert sum("rolled back" in line for line in lines) == 1


def test_a_span_stage_by_stage(history):
    text = "\n".join(_shown(history_tables.show_span, history, "2025-05-20", "/root"))
    first, second = text.split("2025-05-20, attempt 2: pushed")
    assert "2025-05-20, attempt 1: failed" in first
    assert "price: drift 0.31 > 0.1 [eval]" in first
    assert f"config {'c' * 64}, revision {'e' * 40}" in first
    assert "model spans/2025-05-20/train/mal" in second
    with pytest.raises(MalTfError, match="--span 2025-06-01: .* there are 2 from 2025-05-19 to 2025-05-20"):
        history_tables.show_span(Console(), history, "2025-06-01", "/root")
    with pytest.raises(MalTfError, match="found none such$"):
        history_tables.show_span(Console(), in_memory(), "2025-06-01", "/root")


def test_what_serves_with_each_training_and_only_its_own_run_taken_apart(history):
    lines = _shown(history_tables.show_serving, history, Version(2, "/root/serving/2", {}), "/root")
    rows = [line.split() for line in lines if line.startswith("2025-")]
    day, earlier = "2025-05-20", "2025-05-19"
    assert rows == [
        [
            day,
            f"spans/{day}/train/mal",
            day,
            "(1",
            "day)",
            f"spans/{day}/labels",
            "fits/may",
            "f" * 12,
            "e" * 12,
        ],
        [
            earlier,
            f"spans/{earlier}/train/mal",
            earlier,
            "(1",
            "day)",
            f"spans/{earlier}/labels",
            "fits/may",
            "c" * 12,
            "d" * 12,
        ],
    ]
    tree = [line for line in lines if " ← " in line or "external" in line]
    assert tree[0] == "served serving/2 ← push of 2025-05-20"
    assert sum("external fits/may" in line for line in tree) == 1  # Not again below what the earlier run made.
    assert sum(f"model spans/{earlier}/train/mal ← train/mal of {earlier}" in line for line in tree) == 1


def test_a_version_rolled_back_to_is_traced_to_the_model_it_is_a_copy_of(history):
    lineage = {"model": "/root/spans/2025-05-19/serving/mal/1", "rolled_back_from": 2, "copy_of": 1}
    lines = _shown(history_tables.show_serving, history, Version(3, "/root/serving/3", lineage), "/root")
    assert lines[0] == "/root/serving/3 serves, rolled back from version 2"
    assert [line.split()[0] for line in lines if line.startswith("2025-")] == ["2025-05-19"]
    with pytest.raises(MalTfError, match="/root/serving/4: expected an artifact of a recorded stage"):
        history_tables.show_serving(Console(), history, Version(4, "/root/serving/4", {}), "/root")
    with pytest.raises(MalTfError, match="expected a serving model, found none"):
        history_tables.show_serving(Console(), history, None, "/root")


def test_nothing_is_cut_off_where_the_terminal_is_narrow(history):
    console = Console(width=60, record=True, file=io.StringIO())
    history_tables.show_span(console, history, "2025-05-20", "/elsewhere")
    assert "…" not in console.export_text()
