"""Commands that need no TensorFlow start without it, which takes seconds to import."""

import pathlib
import subprocess
import sys

import pytest

from pipelines.retrain.history import open_history
from pipelines.retrain.metadata import MetadataConfig
from tests.support.market import MARKET

SCHEDULE = str(pathlib.Path(MARKET).parents[1] / "retraining" / "market.yaml")

#: Runs the command line, then names the modules of TensorFlow that it has imported.
PROGRAM = """
import sys
from pipelines.cli import main
try:
    main()
finally:
    print("imported", *sorted({"tensorflow", "tf_keras", "tensorflow_data_validation"} & set(sys.modules)), sep=":")
"""

OF_SCHEDULE = ("--set", "root={folder}/daily", "--set", "run={folder}/logs/config.yaml")

#: Commands in order, each with what it prints.
COMMANDS = {
    "--help": ("Usage", []),
    "simulate": ("conversions", [MARKET, "--set", "clicks=3000", "--set", "users=300", "--output", "{folder}/logs"]),
    "labels": ("Positives per mechanism", ["{folder}/logs/config.yaml", "--output", "{folder}/run"]),
    "report": ("report.html", ["{folder}/run"]),
    "verify": ("as written", ["{folder}/logs"]),
    "history": ("outcome", [SCHEDULE, *OF_SCHEDULE]),
    "rollback": ("version", [SCHEDULE, *OF_SCHEDULE]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    open_history(MetadataConfig(), f"{folder}/daily")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_starts_without_tensorflow(command, folder):
    printed, words = COMMANDS[command]
    words = [command, *(word.format(folder=folder) for word in words)]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM, *words], capture_output=True, text=True)
    shown = done.stdout + done.stderr
    assert printed in shown and done.stdout.splitlines()[-1] == "imported", shown
