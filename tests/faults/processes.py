"""Runs of `mal-tf` that are watched, killed, given another clock, or a disk that fills up. Linux."""

import errno
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tests.support.source_tree import ROOT

#: Shifts the clock of a command: Debian's package of the same name.
FAKETIME = "faketime"

#: Runs the command line, and kills its own process as it opens the fourth file of a version that is being copied.
DIES_IN_PUSH = """
import signal, sys
from pipelines import cli

files = iter(range(3))


def hook(event, arguments):
    if event == "open" and ".partial/" in str(arguments[0]) and next(files, None) is None:
        signal.raise_signal(signal.SIGKILL)


sys.addaudithook(hook)
cli.main()
"""

#: Runs the command line, and kills its own process `{delay}` seconds after `{stage}` has begun, or as it ends.
_DIES_IN_STAGE = """
import contextlib, os, signal, threading
from pipelines import cli
from pipelines.retrain.history import OpenRun

recorded = OpenRun.stage


@contextlib.contextmanager
def stage(self, name, inputs=()):
    with recorded(self, name, inputs) as opened:
        if name == "{stage}":
            threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL)).start()
        yield opened
        if name == "{stage}":
            signal.raise_signal(signal.SIGKILL)


OpenRun.stage = stage
cli.main()
"""

_POLL = 0.01


def dies_in(stage: str, delay: float) -> str:
    """A program for `Process`: the command line, killed in a stage of the history after so many seconds, or at its end."""
    return _DIES_IN_STAGE.format(stage=stage, delay=delay)


class Process:
    """A command of `mal-tf` that runs beside this one."""

    def __init__(self, words: Sequence[str], log: pathlib.Path, clock: str = "", program: str = ""):
        """Starts it.

        Args:
            words: of the command line, after `mal-tf`.
            log: file for all that it prints.
            clock: what its clock says at the start, UTC, `2024-01-10 12:00:00`; empty: the time.
            program: Python that runs the command line; empty: the module itself.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        command = [sys.executable, *(["-c", program] if program else ["-m", "pipelines.cli"]), *words]
        environment = os.environ | {
            "COLUMNS": "1000",
            "PYTHONPATH": str(ROOT),
            "TZ": "UTC",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        if clock:
            command = [FAKETIME, "-f", f"@{clock}", *command]
            environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        with log.open("wb") as file:
            self._running = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)

    @property
    def code(self) -> int | None:
        """Exit code; negative: the signal that ended it. None while it runs."""
        return self._running.poll()

    def shown(self) -> str:
        """All that it has printed."""
        return self._log.read_text(errors="replace")

    def last_words(self) -> str:
        """The first line of its error, or its last line."""
        lines = self.shown().strip().splitlines()
        return next((line for line in lines if "error:" in line), lines[-1] if lines else "")

    def wait(self) -> str:
        """Waits for its end: all that it has printed."""
        self._running.wait()
        return self.shown()

    def until(self, happened: Callable[[], bool]) -> bool:
        """Waits until something has happened; False if the process ended before."""
        while not happened():
            if self.code is not None:
                return False
            time.sleep(_POLL)
        return True


class SmallDisk:
    """A disk in memory, mounted on a directory; it can be filled up."""

    def __init__(self, directory: pathlib.Path):
        self._directory, self._filler = directory, directory / "filler"

    @classmethod
    def made(cls, directory: pathlib.Path, size: str = "512m") -> "SmallDisk | None":
        """Mounts one; None where this process may not."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
        if (
            os.geteuid()
            or not shutil.which("mount")
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            return None
        return cls(directory)

    def fill(self, left: int) -> None:
        """Writes until so many bytes are left."""
        with self._filler.open("ab", buffering=0) as file:
            while (over := self._bytes_free() - left) > 0:
                try:
                    file.write(b"\0" * min(over, 1 << 20))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break  # Others write too.

    def free(self) -> None:
        """Takes away what `fill` wrote."""
        self._filler.unlink()

    def unmount(self) -> None:
        """Takes the disk away, and all that is on it."""
        subprocess.run(["umount", "--lazy", str(self._directory)], check=True)

    def _bytes_free(self) -> int:
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize
