"""Checks out a commit or copies the working tree, and runs mal-tf's commands with that code."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence

from benchmarks import golden_names, tables
from benchmarks.golden_scenarios import OUT, TREE, Scenario
from features.errors import MalTfError

#: Name of the file that marks a scenario's output as complete.
_DONE = "done.json"

#: `sitecustomize.py` of the processes, without the import hooks of editable installs, which would import modules that a tree
#: lacks from elsewhere.
_NO_OTHER_TREE = """
import sys

sys.meta_path[:] = [one for one in sys.meta_path if not getattr(one, "__module__", "").startswith("__editable__")]
"""

#: One thread each, so that two scenarios fill two cores; no accelerator, whose sums may differ from run to run; wide logs.
_ENVIRONMENT = {
    "COLUMNS": "200",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONWARNINGS": "ignore",
}

_POLL, _HEARTBEAT = 0.2, 30.0


@dataclasses.dataclass(frozen=True)
class Tree:
    """A tree of the code.

    Attributes:
        name: name in messages.
        root: directory of the code.
        path: PYTHONPATH of its processes.
        earlier: whether settings may have earlier names.
    """

    name: str
    root: pathlib.Path
    path: str
    earlier: bool

    def program(self) -> list[str]:
        """Return the command `mal-tf` that the tree's setup.py defines.

        Raises:
            MalTfError: setup.py does not define it.
        """
        setup = self.root / "setup.py"
        entry = re.search(r"mal-tf\s*=\s*([\w.]+):(\w+)", setup.read_text()) if setup.exists() else None
        if not entry:
            raise MalTfError(f"{self.name}: setup.py has no command mal-tf")
        return [sys.executable, "-c", f"from {entry[1]} import {entry[2]} as main; import sys; sys.exit(main())"]


def git(root: pathlib.Path, *words: str) -> bytes:
    """Run a git command and return its output.

    Raises:
        MalTfError: the command failed.
    """
    result = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    if result.returncode:
        raise MalTfError(f"git {' '.join(words)}: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout


def commit_of(root: pathlib.Path, revision: str) -> str:
    """Return the full hash of a revision.

    Raises:
        MalTfError: the commit does not exist.
    """
    try:
        return git(root, "rev-parse", "--verify", "--end-of-options", revision + "^{commit}").decode().strip()
    except MalTfError as error:
        raise MalTfError(f"no commit is called {revision}") from error


def check_out(root: pathlib.Path, commit: str, folder: pathlib.Path) -> Tree:
    """Extract a commit's files below `folder`."""
    place = folder / commit[:12]
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", commit))) as archive:
        archive.extractall(place, filter="data")
    return Tree(commit[:12], place, _python_path(place, folder), earlier=True)


def copy(root: pathlib.Path, folder: pathlib.Path) -> Tree:
    """Copy the working tree's files, except those that git ignores, below `folder`, as they may be edited meanwhile."""
    place = folder / "working-tree"
    for name in git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0"):
        if name and (root / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, place / name)
    return Tree("working tree", place, _python_path(place, folder), earlier=False)


def _python_path(place: pathlib.Path, folder: pathlib.Path) -> str:
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_NO_OTHER_TREE)
    return os.pathsep.join((str(site), str(place)))


def fingerprint(scenario: Scenario, root: pathlib.Path) -> str:
    """Return a fingerprint of a scenario's commands, the locked packages' versions and the processor, but not of the code."""
    lock, cpuinfo = root / "requirements.lock", pathlib.Path("/proc/cpuinfo")
    names = re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE) if lock.exists() else []
    processor = re.findall(r"^model name.*", cpuinfo.read_text(), re.MULTILINE)[:1] if cpuinfo.exists() else []
    packages = {name: tables.version(name) for name in names}
    commands = [list(command) for command in scenario.commands]
    text = json.dumps([commands, platform.python_version(), packages, processor], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Task:
    """Runs the commands of a scenario with a tree, one after the other."""

    def __init__(self, scenario: Scenario, tree: Tree, out: pathlib.Path, say: Callable[[str], object]):
        """Prepare the commands without running them.

        Args:
            scenario: the scenario to run.
            tree: the code to run it with.
            out: output directory, which is replaced.
            say: prints a line of progress.
        """
        self.scenario, self._tree, self._out, self._say = scenario, tree, out, say
        self._next, self._began = 0, 0.0
        self._spelling: golden_names.Renames = ()
        self._process: subprocess.Popen | None = None

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.scenario.name}, {self._tree.name}"

    def start(self) -> None:
        """Start the first command."""
        shutil.rmtree(self._out, ignore_errors=True)
        self._out.mkdir(parents=True)
        self._began = time.monotonic()
        self._start_next()

    def _start_next(self) -> None:
        words = [
            golden_names.earlier(word, self._spelling).replace(TREE, str(self._tree.root)).replace(OUT, str(self._out))
            for word in self.scenario.commands[self._next]
        ]
        self._say(f"{self.name}: mal-tf {words[0]} …")
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [*self._tree.program(), *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._tree.root,
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": self._tree.path},
                start_new_session=True,
            )

    @property
    def _log(self) -> pathlib.Path:
        return self._out / f"{self._next + 1}-{self.scenario.commands[self._next][0]}.log"

    def ended(self) -> bool:
        """Return whether all commands have ended, and start the next one if one has ended.

        Raises:
            MalTfError: a command failed; the error contains the end of its output.
        """
        code = self._process.poll()
        if code is None:
            return False
        if code:
            self._failed(code)
        else:
            self._next += 1
        if self._next < len(self.scenario.commands):
            self._start_next()
            return False
        seconds = time.monotonic() - self._began
        (self._out / _DONE).write_text(json.dumps({"seconds": round(seconds, 1)}) + "\n")
        self._say(f"{self.name}: done in {seconds:,.0f} s")
        return True

    def _failed(self, code: int) -> None:
        if self._tree.earlier and golden_names.SETTINGS and not self._spelling:
            self._spelling = golden_names.SETTINGS
            return
        end = self._log.read_text(errors="replace")[-3000:].strip()
        command = self.scenario.commands[self._next][0]
        raise MalTfError(f"{self.name}: mal-tf {command} ended with {code}; the end of its output:\n{end}")

    def last_line(self) -> str:
        """Return the last line of the current command's output."""
        printed = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return (
            f"{self.name}: {time.monotonic() - self._began:,.0f} s: {' '.join(printed[-1].split()) if printed else '…'}"
        )

    def kill(self) -> None:
        """Kill the current command and all processes that it started."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def run(tasks: Sequence[Task], jobs: int, say: Callable[[str], object]) -> None:
    """Run tasks, the longest first, `jobs` at a time.

    Raises:
        MalTfError: a task failed; the others are killed.
    """
    waiting, running = sorted(tasks, key=lambda task: -task.scenario.seconds), []
    last_report = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            time.sleep(_POLL)
            running = [task for task in running if not task.ended()]
            if time.monotonic() - last_report > _HEARTBEAT:
                last_report = time.monotonic()
                for task in running:
                    say(task.last_line())
    finally:
        for task in running:
            task.kill()


def is_done(out: pathlib.Path) -> bool:
    """Return whether a scenario's output is complete."""
    return (out / _DONE).exists()
