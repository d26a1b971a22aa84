"""The examples of docs/library.md and of the README, run as they stand there, and those in the docstrings."""

import doctest
import importlib
import pathlib
import re
import subprocess
import sys

import pandas as pd
import pytest

import features
import mal_tf
from tests.support.project import make_logs

ROOT = pathlib.Path(__file__).parents[2]


def blocks(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def modules_with_examples():
    for package in (features, mal_tf):
        for path in pathlib.Path(package.__path__[0]).rglob("*.py"):
            if ">>> " in path.read_text():
                module = path.parent if path.name == "__init__.py" else path.with_suffix("")
                yield ".".join(module.relative_to(ROOT).parts)


def in_fresh_process(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_library_guide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("docs/library.md"):
        if "fresh process" in block:
            assert re.search(r"\[0\.\d+\]", in_fresh_process(block))
        else:
            exec(block, names)
    assert {f"label_{name}" for name in ("first", "last", "linear", "shao_li")} <= set(names["labelled"].columns)


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clicks, conversions = (
        table.to_pandas().rename(columns={"user": "user_id", "ts": "timestamp"}) for table in make_logs()
    )
    for name, id_column, table in (("clicks", "click_id", clicks), ("conversions", "conversion_id", conversions)):
        table = table.rename(columns={"id": id_column, "shop": "match_key"})
        table.assign(timestamp=pd.to_datetime(table["timestamp"], unit="s")).to_parquet(f"{name}.parquet")
    (block,) = blocks("README.md")
    exec(block, {})
    code = 'import mal_tf, tf_keras; print(tf_keras.models.load_model("mal.keras").name)'
    assert code.split("; ")[1].removeprefix("print(").removesuffix(".name)") in block
    assert in_fresh_process(code) == "mal\n"


def test_public_objects_have_examples():
    """Classes, functions and modules of the library; `keras` is not ours."""
    documented = {name: getattr(mal_tf, name) for name in mal_tf.__all__ if name != "keras"}
    assert [name for name, value in documented.items() if ">>> " not in (value.__doc__ or "")] == []


@pytest.mark.parametrize("name", sorted(set(modules_with_examples())))
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
