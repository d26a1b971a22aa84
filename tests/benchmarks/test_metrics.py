"""The loop computes what we compute, and the benchmark measures both."""

import pytest

from benchmarks import metrics
from benchmarks.metrics_process import clicks, gauc, loop


def test_the_loop_is_the_same_gauc():
    made = clicks(2_000, 150)
    assert len(set(made[0])) == 150 and 0.03 < made[1].mean() < 0.07
    assert loop(*made) == pytest.approx(gauc(*made), rel=1e-12)


def test_a_small_benchmark_says_what_it_measured(tmp_path):
    metrics.main(rows=3_000, users=300, loop_rows=1_000, loop_users=50, rounds=1, markdown=tmp_path / "m.md")
    said = (tmp_path / "m.md").read_text()
    assert "### 3,000 clicks of 300 users" in said and "GAUC, scikit-learn per user" in said
    assert "The goal is for 10 M clicks of 1 M users." in said


def test_goals():
    found = dict.fromkeys(metrics._NAMES, 10.0)
    size = 10_000_000, 1_000_000, 3
    assert metrics.size_table(found, 1 << 30, *size).note.endswith("within 30 s and 4 GiB, met.")
    assert metrics.size_table(found, 5 << 30, *size).note.endswith("not met.")
    assert metrics.size_table(found | {"all": 31.0}, 1 << 30, *size).note.endswith("not met.")
    took = {"ours": 0.5, "all": 1.0, "loop": 200.0, "difference": 0.0}
    assert metrics.loop_table(took, 1, 1, 3).rows[0] == ["GAUC, ours", "0.500", "400"]
    assert metrics.loop_table(took, 1, 1, 3).note.endswith("Goal: 300 times, met.")
    assert metrics.loop_table(took | {"loop": 100.0}, 1, 1, 3).note.endswith("not met.")
