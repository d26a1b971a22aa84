"""Two trees of the code, the working tree and another commit's, and mal-tf's commands run with the one or the other."""

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

#: Written into a scenario's output when its commands have all ended well.
_DONE = "done.json"

#: The package may be installed so that a module that a tree lacks is taken from somewhere else; in these processes it is not.
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
        name: for people.
        root: its directory.
        path: what its processes have as PYTHONPATH.
        earlier: whether settings may have an earlier spelling.
    """

    name: str
    root: pathlib.Path
    path: str
    earlier: bool

    def program(self) -> list[str]:
        """The command `mal-tf`, as the tree's setup.py has it.

        Raises:
            MalTfError: it has none.
        """
        setup = self.root / "setup.py"
        found = re.search(r"mal-tf\s*=\s*([\w.]+):(\w+)", setup.read_text()) if setup.exists() else None
        if not found:
            raise MalTfError(f"{self.name}: setup.py has no command mal-tf")
        return [sys.executable, "-c", f"from {found[1]} import {found[2]} as main; import sys; sys.exit(main())"]


def git(root: pathlib.Path, *words: str) -> bytes:
    """What a git command prints.

    Raises:
        MalTfError: it failed.
    """
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    if done.returncode:
        raise MalTfError(f"git {' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def commit_of(root: pathlib.Path, revision: str) -> str:
    """The full hash of a revision.

    Raises:
        MalTfError: there is no such commit.
    """
    try:
        return git(root, "rev-parse", "--verify", "--end-of-options", revision + "^{commit}").decode().strip()
    except MalTfError as error:
        raise MalTfError(f"no commit is called {revision}") from error


def check_out(root: pathlib.Path, commit: str, folder: pathlib.Path) -> Tree:
    """A commit's files, below `folder`."""
    place = folder / commit[:12]
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", commit))) as archive:
        archive.extractall(place, filter="data")
    return Tree(commit[:12], place, _python_path(place, folder), earlier=True)


def copy(root: pathlib.Path, folder: pathlib.Path) -> Tree:
    """The working tree's files but for those that git ignores, below `folder`: they may be edited meanwhile."""
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
    """Tells apart what a scenario's outcome depends on besides the code: its commands, packages of the lock, the processor."""
    lock, cpuinfo = root / "requirements.lock", pathlib.Path("/proc/cpuinfo")
    names = re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE) if lock.exists() else []
    processor = re.findall(r"^model name.*", cpuinfo.read_text(), re.MULTILINE)[:1] if cpuinfo.exists() else []
    packages = {name: tables.version(name) for name in names}
    commands = [list(command) for command in scenario.commands]
    text = json.dumps([commands, platform.python_version(), packages, processor], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Task:
    """The commands of a scenario, to be run with a tree, one after the other."""

    def __init__(self, scenario: Scenario, tree: Tree, out: pathlib.Path, say: Callable[[str], object]):
        """Prepares them.

        Args:
            scenario: what to run.
            tree: with which code.
            out: directory that is made anew.
            say: takes lines for people.
        """
        self.scenario, self._tree, self._out, self._say = scenario, tree, out, say
        self._next, self._began = 0, 0.0
        self._spelling: golden_names.Renames = ()
        self._process: subprocess.Popen | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.scenario.name}, {self._tree.name}"

    def start(self) -> None:
        """Begins with the first command."""
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
        """Whether all commands have; starts the next one where one has.

        Raises:
            MalTfError: a command failed; with the end of what it printed.
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
        """The last line that the present command has printed."""
        printed = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return (
            f"{self.name}: {time.monotonic() - self._began:,.0f} s: {' '.join(printed[-1].split()) if printed else '…'}"
        )

    def kill(self) -> None:
        """Ends the present command and all processes that it started."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def run(tasks: Sequence[Task], jobs: int, say: Callable[[str], object]) -> None:
    """Runs tasks, the longest first, so many at a time.

    Raises:
        MalTfError: one failed; the others are ended.
    """
    waiting, running = sorted(tasks, key=lambda task: -task.scenario.seconds), []
    told = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            time.sleep(_POLL)
            running = [task for task in running if not task.ended()]
            if time.monotonic() - told > _HEARTBEAT:
                told = time.monotonic()
                for task in running:
                    say(task.last_line())
    finally:
        for task in running:
            task.kill()


def is_done(out: pathlib.Path) -> bool:
    """Whether a scenario's output is there, whole."""
    return (out / _DONE).exists()
