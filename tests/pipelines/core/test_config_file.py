import functools

import pytest

from features.errors import MalTfError
from features.frozen import Frozen, Path
from pipelines.core.config_file import ConfigFile


class Source(Frozen):
    logs: tuple[Path, ...] = ()
    users: Path | None = None
    column: str = "a"


class Settings(ConfigFile):
    on: str = ""
    cat: bool = True
    names: tuple[str, ...] = ()
    source: Source = Source()

    @functools.cached_property
    def columns(self) -> list[str]:
        return [self.source.column, *self.names]


def written(folder, text):
    (folder / "c.yaml").write_text(text)
    return str(folder / "c.yaml")


def test_on_is_a_word_and_true_is_not(tmp_path):
    path = written(tmp_path, "name: n\non: yes\ncat: true\nnames: [no, off, y]\n")
    assert Settings.load(path, ["cat=false"]) == Settings(name="n", on="yes", cat=False, names=("no", "off", "y"))


def test_paths_anywhere_are_relative_to_the_folder_of_the_file_and_nothing_else_is(tmp_path):
    path = written(tmp_path, "name: n\nsource: {logs: [a/*.csv, /b, gs://c/d], users: ../u, column: a/b}\n")
    source = Settings.load(path, ["source.users=../v"]).source
    assert source.logs == (str(tmp_path / "a/*.csv"), "/b", "gs://c/d")
    assert (source.users, source.column) == (str(tmp_path.parent / "v"), "a/b")
    assert Settings(name="n", source={"users": "u"}).source.users == "u"  # Read from no file.


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", 3])
def test_a_name_can_be_that_of_a_directory(tmp_path, name):
    with pytest.raises(MalTfError, match=r"c.yaml:\n  name: "):
        Settings.load(written(tmp_path, f"name: {name!r}\n"))


def test_what_is_cached_is_not_copied():
    settings = Settings(name="n")
    assert settings.columns is settings.columns
    copied = settings.model_copy(update={"names": ("b",)})
    assert (copied.columns, settings.columns) == (["a", "b"], ["a"])
    assert settings == Settings(name="n")
