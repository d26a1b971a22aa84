import pathlib

import pytest

from features.plain_path import plain_path


@pytest.mark.parametrize("name", ["runs[1]", "a*b", "what?", "back\\slash"])
def test_a_link_without_patterns_leads_to_the_directory(tmp_path, name):
    (tmp_path / name).mkdir()
    with plain_path(f"{tmp_path}/{name}") as path:
        assert not set(path) & set("*?[\\")
        pathlib.Path(path, "written").write_text("x")
    assert (tmp_path / name / "written").read_text() == "x" and not pathlib.Path(path).exists()


def test_other_directories_are_their_own(tmp_path):
    with plain_path(f"{tmp_path}/plain") as path, plain_path("gs://bucket/a[1]") as remote:
        assert (path, remote) == (f"{tmp_path}/plain", "gs://bucket/a[1]")
