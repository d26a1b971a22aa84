"""Memory follows the shard, not the split."""

import subprocess
import sys

import pytest

from tests.pipelines.evaluate.distributed.small import labelled, write_model

MEASURED = """
import resource, sys
from pipelines.config.run import load
from pipelines.evaluate.distributed import run
run._SHARD_CLICKS = run._RANGE_CLICKS = 25_000
config, labels, model, output = sys.argv[1:5]
run.run(run.Evaluation(load(config, ["evaluation.bootstrap_samples=20"]), labels, {"mal": model, "base": model}), output)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_four_times_the_clicks_take_about_the_same_memory(project):
    config, model, peak = project.write(), write_model(f"{project.folder}/model"), {}
    for clicks in (100_000, 400_000):
        directory = labelled(f"{project.folder}/labels{clicks}", count=clicks // 2, users=clicks // 4, parts=8)
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            MEASURED,
            config,
            directory,
            model,
            f"{project.folder}/job{clicks}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        peak[clicks] = float(done.stdout.splitlines()[-1])
    assert peak[400_000] < peak[100_000] + 100, peak
