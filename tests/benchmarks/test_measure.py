"""Measuring commands, and what the tables make of it."""

import os
import sys
import time

import pytest

from benchmarks import labels, measure, tables
from benchmarks.measure import Measured
from features.errors import MalTfError

CHILD = "import time; block = bytearray(150 << 20); block[::4096] = b'x' * len(block[::4096]); time.sleep(1)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}], check=True)"


def test_memory_of_child_processes_counts(tmp_path):
    watched = []
    found = measure.run([sys.executable, "-c", PARENT], tmp_path / "log", lambda *sample: watched.append(sample))
    assert 150 < found.peak / 2**20 < 250
    assert 1 <= found.seconds < 10 and 0 < found.cpu_seconds < 5
    assert watched and max(memory for _, memory in watched) == found.peak


def test_bytes_written_are_counted(tmp_path):
    program = f"import os, time; f = open({str(tmp_path / 'file')!r}, 'wb'); f.write(bytes(8 << 20)); f.flush(); time.sleep(0.5)"
    assert (8 << 20) <= measure.run([sys.executable, "-c", program], tmp_path / "log").written < (9 << 20)


def test_a_failing_command_is_an_error_with_the_end_of_its_output(tmp_path):
    with pytest.raises(MalTfError, match="ended with 3; the end of its output:\nno such luck"):
        measure.run([sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"], tmp_path / "log")


def test_nothing_keeps_running_after_an_interrupt(tmp_path):
    def interrupt(seconds, memory):
        raise KeyboardInterrupt

    pid = tmp_path / "pid"
    program = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        measure.run([sys.executable, "-c", program], tmp_path / "log", interrupt)
    time.sleep(0.1)
    assert not pid.exists() or not os.path.exists(f"/proc/{pid.read_text()}")


def test_the_disk_is_measured_and_left_clean(tmp_path):
    write_seconds, read_seconds = measure.disk_seconds(tmp_path, 3 << 20, 20 << 20)
    assert write_seconds > 0 and read_seconds > 0 and not list(tmp_path.iterdir())


def made(seconds, peak=100 << 20):
    return Measured(seconds, seconds, peak, 0)


def test_start_up_is_taken_out_and_goals_are_judged():
    results = {
        ("ours", 1_000): made(5.01),
        ("ours", 10_000): made(5.10, 150 << 20),
        ("ours2", 10_000): made(4.0),
        ("row_by_row", 100): made(2.02),
        ("row_by_row", 300): made(2.068),
        ("floor", 1_000): made(1.0),
    }
    assert labels.per_click(results, "ours") == pytest.approx(10)
    assert labels.ratio(results, "row_by_row", "ours") == pytest.approx(24)
    assert labels.per_click(results, "floor") is None and labels.ratio(results, "ours", "floor") is None
    rows = {row[0]: row[1:] for row in labels.goals_table(results).rows}
    assert rows["ours ÷ (b), per click"] == ["≤ 2", "–", "–", "not measured"]
    assert rows["(a) ÷ ours, per click"] == ["≥ 20", "24.00", "24.00", "met"]
    assert rows["1 worker ÷ 2 workers, whole run, 10,000 clicks"] == ["≥ 1.6", "1.27", "–", "missed"]
    assert rows["ours, 1 worker: peak memory, 10,000 ÷ 1,000 clicks"] == ["≤ 2", "1.50", "–", "met"]
    assert labels.goals_table(results, busy=True).rows[0][-1] == "unsure: busy machine"
    shown = labels.contenders_table(results)
    assert ["ours, 1 worker", "1,000", "5.0", "5.0", "200", "", "", "", "100"] in shown.rows
    assert "| (b) floor: no attribution | 1,000 | 1.0 |" in tables.markdown(shown)


def test_steps_of_the_job_are_shares_of_its_time():
    seconds = labels._leaves({"read": 1, "label": {"credit": 2, "write": 3}})
    assert seconds == {"read": 1, "label: credit": 2, "label: write": 3}
    assert [row[2] for row in labels.stages_table(seconds, 10.0, 100).rows] == ["10%", "20%", "30%", "40%"]
