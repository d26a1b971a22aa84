"""How many parameters functions and constructors take; dataclasses and configurations name their fields and don't count."""

import ast

import pytest

from tests.support.source_tree import FLOORS, ROOT

MOST = 7

#: Where parameters are options of a command line: the commands, and the `main` of a benchmark.
COMMANDS = ("pipelines/cli/",)

#: Functions that take more because somebody else's keys are their parameters.
LONG = {
    "mal_tf/attribution/attention.py:__init__": "the mechanism's keys in a user's config",
    "pipelines/retrain/tfx/components.py:judge": "the artifacts that TFX hands a component, each declared as a parameter",
}


def is_command(path, function):
    return path.startswith(COMMANDS) or (path.startswith("benchmarks/") and function == "main")


def parameters(function):
    """Names of a function's parameters; a method's without the object itself."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def too_long(source):
    """Functions of a module, also nested ones, that take more than `MOST` parameters."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return [function.name for function in functions if len(parameters(function)) > MOST]


def test_functions_take_few_parameters():
    paths = sorted(path for part in (*FLOORS, "benchmarks") for path in (ROOT / part).rglob("*.py"))
    found = {
        f"{path}:{function}"
        for path, source in ((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths)
        for function in too_long(source)
        if not is_command(path, function)
    }
    assert found - LONG.keys() == set()
    assert LONG.keys() - found == set(), "short now: take them out"


@pytest.mark.parametrize(("count", "expected"), [(7, []), (8, ["f"])])
def test_parameters_of_all_kinds_count_and_the_object_itself_does_not(count, expected):
    names = [f"p{number}" for number in range(count)]
    assert (
        too_long(f"class C:\n def f(self, {names[0]}, /, {', '.join(names[1:4])}, *, {', '.join(names[4:])}): ...")
        == expected
    )
