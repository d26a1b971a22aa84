"""Classes of a user's own that can't be found, imported or made are errors that say where and what to do."""

import re

import pydantic
import pytest

from features.errors import MalTfError
from features.feature import Feature
from features.registry import find
from features.spec import FeatureSpec


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes the modules of a package of a test's own name, and returns that name."""
    name = f"own_{abs(hash(str(tmp_path)))}"

    def write(**modules):
        (tmp_path / name).mkdir()
        for module, code in {"__init__": "", **modules}.items():
            (tmp_path / name / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    return write


@pytest.mark.parametrize(
    ("code", "file", "message"),
    [
        ("x = 1\nclass Own(:\n    pass\n", "feature", "line 2: SyntaxError: invalid syntax"),
        ("import os\nimport nunpy\n", "feature", "line 2: ModuleNotFoundError: No module named 'nunpy'"),
        ("from features.feature import Featur\n", "feature", "line 1: ImportError: cannot import name 'Featur'"),
        ("import pathlib\n\nx = y\n", "feature", "line 3: NameError: name 'y' is not defined"),
        ("import json\njson.loads('{')\n", "feature", "line 2: JSONDecodeError: "),
        ("\nexit(2)\n", "feature", "line 2: SystemExit: 2"),
        ("import os\nos._exit(0)\n", "feature", "line 2: SystemExit: os._exit"),
        ("from . import broken\n", "broken", "line 1: ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_fails_is_named_with_file_and_line(package, code, file, message):
    name = package(feature=code, broken="1 / 0\n")
    with pytest.raises(MalTfError) as error:
        find(f"{name}.feature:Own", {}, Feature, "feature type")
    assert str(error.value).startswith(f"feature type '{name}.feature:Own' can't be imported: /")
    assert re.search(rf"/{name}/{file}.py, {message}", str(error.value))
    assert str(error.value).endswith("; correct the module")


@pytest.mark.parametrize("module", ["{name}.featre", "{name}_missing.feature"])
def test_a_module_that_is_not_there_is_to_be_installed(package, module):
    module = module.format(name=package())
    with pytest.raises(MalTfError, match=f"'{module}:Own' can't be imported: No module named .* Install its package"):
        find(f"{module}:Own", {}, Feature, "feature type")


def test_a_class_that_lacks_methods_is_refused(package):
    name = package(feature="from features.feature import Feature\n\n\nclass Own(Feature):\n    pass\n")
    message = "feature type '.*' lacks methods of features.feature.Feature: define `select`"
    with pytest.raises(MalTfError, match=message):
        find(f"{name}.feature:Own", {}, Feature, "feature type")


def test_a_validator_that_fails_is_named(package):
    code = """
import pydantic
from features.feature_types import CategoricalFeature

class Own(CategoricalFeature):
    type: str

    @pydantic.model_validator(mode="after")
    def _check(self):
        return {}["zone"]
"""
    kind = f"{package(feature=code)}.feature:Own"
    with pytest.raises(pydantic.ValidationError, match=f"feature type '{kind}': KeyError: 'zone'"):
        FeatureSpec(features=[{"type": kind, "name": "own"}])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (":Own", "can't be imported: ValueError: Empty module name"),
        (".feature:Own", "can't be imported: TypeError: "),
        ("sys:Own", "module 'sys' has no attribute 'Own'; it is not a file"),
    ],
)
def test_a_path_that_names_no_module_of_a_file(path, message):
    with pytest.raises(MalTfError, match=message):
        find(path, {}, Feature, "feature type")
