"""Daily retraining with planted faults, as `python -m tests.faults.month` has them, on fewer days."""

import io

import pytest
from rich.console import Console

from tests.faults import month
from tests.faults.market import FIRST_SPAN


def kill_early_and_late(of: month.Month) -> None:
    month.kills(of, ["label", "push"])


@pytest.mark.slow
def test_after_each_fault_the_last_good_model_serves_and_the_next_run_goes_on(tmp_path):
    parts = [
        month.first,
        month.late_log,
        month.two_at_once,
        kill_early_and_late,
        month.schema_change,
        month.missing_day,
        month.clock,
    ]
    shown = Console(file=io.StringIO(), width=300)
    found = month.simulate(tmp_path, parts, FIRST_SPAN + 10, month.CLICKS_PER_DAY, shown)
    assert found.wrong == [], shown.file.getvalue()
    pushed = [row for row in found.rows if row.code == 0]
    assert [row.span[-2:] for row in pushed] == ["09", "10", "11", "12", "14", "17", "18"]
    assert found.rows[-1].serves == "7, of 2024-01-18"
    assert sum("journeys: done" in path.read_text() for path in (tmp_path / "logs").iterdir()) == len(pushed)
