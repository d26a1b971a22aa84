"""How a command says what to try next."""

import pytest

from pipelines.cli import shared


@pytest.mark.parametrize(
    ("argv", "typed", "expected"),
    [
        ("/home/me/mal/pipelines/cli/__main__.py", "python3", "python3 -m pipelines.cli"),
        ("/home/me/mal/pipelines/cli/__main__.py", ".venv/bin/python", ".venv/bin/python -m pipelines.cli"),
        ("/home/me/.venv/bin/mal-tf", "/usr/bin/python3", ".venv/bin/mal-tf"),
    ],
)
def test_the_program_is_one_that_can_be_run(monkeypatch, argv, typed, expected):
    monkeypatch.setattr(shared.os, "getcwd", lambda: "/home/me")
    monkeypatch.setattr(shared.sys, "argv", [argv])
    monkeypatch.setattr(shared.sys, "orig_argv", [typed])
    assert shared.program() == expected


def test_paths_are_said_as_they_are(capsys, monkeypatch):
    monkeypatch.setattr(shared, "console", shared.Console(width=20))
    path = "runs/a[red]b/[/c] :bug: %20 # ~x {d} \\e"
    shared.say(f"SavedModel: {path}")
    assert capsys.readouterr().out == f"SavedModel: {path}\n"
