"""Daily retraining with planted faults, as `python -m benchmarks.retraining_month` has them, on fewer days."""

import io

import pytest
from rich.console import Console

from benchmarks import retraining_month as month


def kill_early_and_late(of: month.Month) -> None:
    month.kills(of, ["label", "push"])


@pytest.mark.slow
def test_after_each_fault_the_last_good_model_serves_and_the_next_run_goes_on(tmp_path):
    parts = [month.first, month.late_log, kill_early_and_late, month.clock]
    shown = Console(file=io.StringIO(), width=300)
    found = month.simulate(tmp_path, parts, month.FIRST_SPAN + len(parts), 4000, shown)
    assert found.wrong == [], shown.file.getvalue()
    assert [row.span for row in found.rows if row.code == 0] == [f"2024-01-{9 + day:02}" for day in range(len(parts))]
    assert found.rows[-1].serves == "4, of 2024-01-12"
    assert sum("journeys: done" in path.read_text() for path in (tmp_path / "logs").iterdir()) == len(parts)
