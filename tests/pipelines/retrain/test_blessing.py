import pathlib

import pytest

from features.errors import MalTfError
from pipelines.retrain import blessing
from tests.pipelines.retrain.faults import killed

REASONS = ["AUC 0.61 is below its floor 0.65", "PCOC 1.4 is above 1.2"]
FACTS = {"auc": 0.61, "slices": {"path_length": {"1": 0.6}}}


def names(directory):
    return {path.name for path in pathlib.Path(directory).iterdir()}


@pytest.mark.parametrize("reasons, mark", [([], "BLESSED"), (REASONS, "NOT_BLESSED")])
def test_one_mark_and_the_reasons(tmp_path, reasons, mark):
    blessing.write(str(tmp_path), reasons, FACTS)
    assert names(tmp_path) == {mark, "reason.json"}
    assert blessing.read(str(tmp_path)) == blessing.Blessing(not reasons, reasons, FACTS)


@pytest.mark.parametrize("first, then", [([], REASONS), (REASONS, [])])
def test_killed_at_each_file_operation_the_mark_never_goes_with_other_reasons(tmp_path, first, then):
    directory = str(tmp_path)
    before, after = (blessing.Blessing(not reasons, reasons, {"of": len(reasons)}) for reasons in (first, then))
    seen = set()
    for _ in killed(
        lambda: blessing.write(directory, then, after.facts), lambda: blessing.write(directory, first, before.facts)
    ):
        if names(directory).isdisjoint({"BLESSED", "NOT_BLESSED"}):
            with pytest.raises(MalTfError, match="expected either BLESSED or NOT_BLESSED, found neither"):
                blessing.read(directory)
            seen.add("neither")
        else:
            found = blessing.read(directory)
            assert found in (before, after)
            seen.add(found.blessed)
    assert seen >= {before.blessed, "neither"}
    assert blessing.read(directory) == after


def test_two_marks_are_none(tmp_path):
    blessing.write(str(tmp_path), [], {})
    (tmp_path / "NOT_BLESSED").touch()
    with pytest.raises(MalTfError, match="found BLESSED and NOT_BLESSED"):
        blessing.read(str(tmp_path))
