"""A format of one's own, by the example of docs/extending.md."""

import re

import pyarrow as pa
import pytest

from features.errors import BadInput
from tests.support.labels import labels_of
from tests.support.source_tree import ROOT


@pytest.fixture
def own(tmp_path_factory, monkeypatch):
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    (module,) = re.findall(r'```python\n("""Feather as a format.*?)```', page, re.DOTALL)
    folder = tmp_path_factory.mktemp("package")
    (folder / "my_formats.py").write_text(module)
    monkeypatch.syspath_prepend(str(folder))
    return "my_formats:Feather"


def test_labels_are_those_of_parquet(project, own):
    before = labels_of(project, "before")
    with (
        pa.OSFile(str(project.folder / "clicks.feather"), "wb") as file,
        pa.ipc.new_file(file, project.clicks.schema) as out,
    ):
        out.write_table(project.clicks, 100)
    project.config["sources"]["clicks"] |= {"files": "clicks.feather", "format": own}
    assert labels_of(project, "after") == before
    (project.folder / "clicks.feather").write_bytes(b"ARROW1 and nothing")
    with pytest.raises(BadInput, match=r"clicks\.feather can't be read as feather: .*replace it"):
        project.labels("damaged")
