"""Which interpreter the environment is made with, on machines made of stubs."""

import pathlib
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "deploy/python.sh"
#: What the script uses of a machine besides Python, glibc and a compiler.
TOOLS = ("cut", "sed", "sh")


class Machine:
    """A folder with the commands that a machine has."""

    def __init__(self, folder: pathlib.Path, glibc: str | None, kind: str = "Linux x86_64"):
        self.folder = folder
        for tool in TOOLS:
            path = subprocess.run(["sh", "-c", f"command -v {tool}"], capture_output=True, text=True, check=True).stdout
            (folder / tool).symlink_to(path.strip())
        system, processor = kind.split()
        self.add("uname", f'[ "$1" = -s ] && echo {system} || echo {processor}')
        self.add("getconf", f"echo glibc {glibc}" if glibc else "exit 1")

    def add(self, name: str, script: str = "") -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / name).chmod(0o755)

    def python(self, name: str, version: str, venv: bool = True, headers: bool = True) -> None:
        include = self.folder / f"include-{version}"
        include.mkdir(exist_ok=True)
        if headers:
            (include / "Python.h").touch()
        cases = f"*version_info*) echo {version};; *ensurepip*) exit {0 if venv else 1};; *sysconfig*) echo {include};;"
        self.add(name, f'case "$2" in {cases} esac')

    def choose(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["/bin/sh", SCRIPT, *arguments], env={"PATH": str(self.folder)}, capture_output=True, text=True, check=False
        )


@pytest.mark.parametrize(
    ("glibc", "pythons", "chosen", "line"),
    [
        ("2.41", ["3.13", "3.12", "3.11"], "python3.13", "line B"),
        ("2.39", ["3.12", "3.9"], "python3.12", "line B"),
        ("2.39", ["3.14", "3.10"], "python3.10", "line A"),
        ("2.36", ["3.13", "3.11", "3.10"], "python3.11", "line A"),
        ("2.28", ["3.12", "3.10"], "python3.10", "line A"),
    ],
)
def test_the_newest_python_that_glibc_has_wheels_for_is_chosen(tmp_path, glibc, pythons, chosen, line):
    machine = Machine(tmp_path, glibc)
    machine.add("g++")
    for version in pythons:
        machine.python(f"python{version}", version)
    done = machine.choose()
    assert (done.returncode, done.stdout) == (0, f"{chosen}\n")
    assert line in done.stderr and len(done.stderr.splitlines()) == 1


def test_python3_alone_is_enough_and_a_command_that_does_not_run_is_passed_over(tmp_path):
    machine = Machine(tmp_path, "2.41")
    machine.add("g++")
    machine.add("python3.13", "exit 127")  # As pyenv's shims of versions that are not active.
    machine.python("python3", "3.12")
    assert machine.choose().stdout == "python3\n"


def test_a_given_interpreter_is_taken_or_refused_by_version(tmp_path):
    machine = Machine(tmp_path, "2.36")
    machine.add("g++")
    for version in ("3.10", "3.11", "3.12"):
        machine.python(f"python{version}", version)
    assert machine.choose("python3.10").stdout == "python3.10\n"
    refused = machine.choose("python3.12")
    assert refused.returncode == 1 and "PYTHON=python3.12 is Python 3.12" in refused.stderr
    assert "glibc 2.39" in refused.stderr
    assert "does not run" in machine.choose("python9").stderr


@pytest.mark.parametrize(
    ("manager", "venv", "headers", "compiler", "expected"),
    [
        ("apt-get", False, False, False, "apt-get install -y python3.13-venv g++ python3.13-dev"),
        ("apt-get", True, True, False, "apt-get install -y g++"),
        ("dnf", True, False, False, "dnf install -y gcc-c++ python3.13-devel"),
    ],
)
def test_what_else_is_needed_is_one_command(tmp_path, manager, venv, headers, compiler, expected):
    machine = Machine(tmp_path, "2.41")
    machine.add(manager)
    machine.python("python3.13", "3.13", venv, headers)
    if compiler:
        machine.add("g++")
    done = machine.choose()
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.endswith(f"as root: {expected}\n")


@pytest.mark.parametrize(
    ("glibc", "kind", "python", "expected"),
    [
        ("2.41", "Darwin arm64", "3.13", "found Darwin arm64"),
        (None, "Linux x86_64", "3.13", "another C library"),
        ("2.27", "Linux x86_64", "3.11", "glibc 2.28 or later, found 2.27"),
        ("2.36", "Linux x86_64", "3.12", "expected one of python3.11, python3.10, found python3 missing"),
    ],
)
def test_machines_without_wheels_are_refused_by_what_they_lack(tmp_path, glibc, kind, python, expected):
    machine = Machine(tmp_path, glibc, kind)
    machine.add("g++")
    machine.python(f"python{python}", python)
    done = machine.choose()
    assert done.returncode == 1 and expected in done.stderr
