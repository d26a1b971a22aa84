"""The example of docs/attribution.md, run as it stands there."""

import pathlib
import re
import sys

import pytest

from features.errors import MalTfError
from tests.support.labels import labels_of

TEXT = (pathlib.Path(__file__).parents[3] / "docs/attribution.md").read_text()
CODE = next(block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "LastOfType" in block)


@pytest.fixture
def shop_attribution(tmp_path, monkeypatch):
    (tmp_path / "shop_attribution.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("shop_attribution", None)


@pytest.mark.usefixtures("shop_attribution")
def test_the_documented_example_runs_by_import_path(project):
    own = {"name": "last_top", "type": "shop_attribution:LastOfType", "parameters": {"kind": "top"}}
    project.config["attribution"]["mechanisms"].append(own)
    found = labels_of(project, mechanisms=("last", "linear", "last_top"), kinds=("label", "credit"))
    place = dict(zip(project.clicks["id"].to_pylist(), project.clicks["place"].to_pylist(), strict=True))
    moved = {click for click, row in found.items() if row["credit_last_top"] > row["credit_last"]}
    assert moved
    assert {place[click] for click in moved} == {"top"}
    assert all(row["credit_linear"] > 0 for row in found.values() if row["credit_last_top"])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no_such_module:Thing", "'no_such_module:Thing' can't be imported: No module named 'no_such_module'"),
        ("shop_attribution:Missing", "can't be imported: module 'shop_attribution' has no attribute 'Missing'"),
        ("shop_attribution:np", "is not a subclass of"),
        ("shop_attribution:LastOfType", "does not take these parameters: .*'kind'"),
    ],
)
@pytest.mark.usefixtures("shop_attribution")
def test_what_is_wrong_with_an_import_path_is_said(project, kind, message):
    project.config["attribution"]["mechanisms"].append({"name": "own", "type": kind})
    project.write()
    with pytest.raises(MalTfError, match=message):
        project.labels()


WRONG = """
import numpy as np
from mal_tf.attribution.mechanism import DataDrivenMechanism, Mechanism

class Own(Mechanism):
    def credit(self, journeys):
        return {returned}

class Learnt(DataDrivenMechanism):
    def statistics(self, converting, other): return len(converting)
    def merge(self, parts): return {merged}
    def fit(self, statistics): return {{"n": np.int64(statistics)}}
    def load(self, parameters): pass
    def credit(self, journeys): return np.zeros(journeys.click.size)
"""


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("np.full(journeys.click.size, 2.0)", "one finite number ≥ 0 per touch.*; found 2 in a journey of"),
        ("np.full(journeys.click.size, -0.5)", "found -0.5 in a journey of"),
        ("np.full(journeys.click.size, np.nan)", "found nan in a journey of nan"),
        ("np.ones(1)", r"numbers, found shape \(1,\)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("exit(3)", "SystemExit: 3"),
        ("exit()", "SystemExit: None"),
        ("__import__('os')._exit(0)", r"SystemExit: os._exit\(0\)"),
    ],
)
def test_credit_that_is_none_is_refused_with_the_mechanisms_name(project, tmp_path, monkeypatch, returned, message):
    module = f"wrong_{abs(hash(returned))}"
    (tmp_path / f"{module}.py").write_text(WRONG.format(returned=returned, merged="sum(parts)"))
    monkeypatch.syspath_prepend(str(tmp_path))
    project.config["attribution"]["mechanisms"].append({"name": "own", "type": f"{module}:Own"})
    project.write()
    with pytest.raises(MalTfError, match=f"(?s)attribution mechanism 'own', credit: .*{message}"):
        project.labels()


@pytest.mark.parametrize(
    ("merged", "message"),
    [
        ("sum(parts)", "fit: TypeError: .*int64 is not JSON"),
        ("sum(parts) if isinstance(parts, list) and len(parts) < 2 else exit(3)", "(merge|statistics): SystemExit: 3"),
    ],
)
def test_a_fit_that_fails_is_named(project, tmp_path, monkeypatch, merged, message):
    module = f"wrong_{abs(hash(merged))}"
    (tmp_path / f"{module}.py").write_text(WRONG.format(returned="None", merged=merged))
    monkeypatch.syspath_prepend(str(tmp_path))
    project.config["attribution"]["mechanisms"].append({"name": "own", "type": f"{module}:Learnt"})
    project.write()
    with pytest.raises(MalTfError, match=f"attribution mechanism 'own', {message}"):
        project.labels()


def test_sixteen_mechanisms_make_sixteen_labels_and_a_seventeenth_is_refused(project):
    kinds = [{"name": f"last_{i}", "type": "last", "window_hours": 1 + i / 2} for i in range(17)]
    project.config["attribution"]["mechanisms"] = kinds[:16]
    project.config["model"]["primary"] = "last_0"
    found = labels_of(project, mechanisms=[k["name"] for k in kinds[:16]])
    assert all(len(row) == 2 + 2 * 16 - 1 for row in found.values())
    project.config["attribution"]["mechanisms"] = kinds
    project.write()
    with pytest.raises(MalTfError, match=r"attribution.mechanisms: .*at most 16"):
        project.labels()
