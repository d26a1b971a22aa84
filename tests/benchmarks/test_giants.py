"""A user with a million clicks, and a log half of which one user in a hundred makes: they pass, in bounded memory."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks.logs import Logs, generate

MEASURED = """
import json, resource, sys
from pipelines.config.run import load
from pipelines.labels import run
report = run.run(load(sys.argv[1]), sys.argv[2])
print(json.dumps({"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "clicks": report["clicks"]}))
"""


def label(config: pathlib.Path, output: pathlib.Path) -> dict:
    """Runs the label job in a fresh process: its largest resident set in MiB, and the report's counts of clicks."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURED, str(config), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "logs", [Logs(1_500_000, giant=1_000_000), Logs(1_000_000, skew=0.5)], ids=["one giant", "half by 1%"]
)
def test_skewed_users_pass_in_bounded_memory(tmp_path, logs):
    found = label(generate(logs, tmp_path / "logs"), tmp_path / "labels")
    assert found["clicks"]["read"] == found["clicks"]["written"] == logs.clicks
    # Columns of the largest shard, a few times over; the whole log as Python objects would be several GiB.
    assert found["mib"] < 2_500
