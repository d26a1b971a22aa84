"""Feature types of a user's own in the label job: lists with a vocabulary, and errors that name the type."""

import json
import sys

import pyarrow as pa
import pytest

from features.errors import MalTfError

CODE = """
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from features.feature import Feature
from features.feature_types import CategoricalFeature


class Tags(CategoricalFeature):
    type: str
    sequence: ClassVar[bool] = True
    length: int = 2

    def select(self, clicks, spec):
        return pc.split_pattern(clicks.column(self.source_column), "|")

    def vector(self, values, config):
        raise NotImplementedError


class Rhythm(Feature):
    dtype: ClassVar[str] = "int64"

    def select(self, clicks, spec):
        return pa.array([1])

    def rows(self, vocabulary, config):
        return 5
"""


@pytest.fixture
def own_features(tmp_path, monkeypatch):
    (tmp_path / "own_features.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_features", None)


@pytest.mark.usefixtures("own_features")
def test_lists_get_a_vocabulary_that_grows(project):
    tags = ["red|sale|old" if number % 2 else "red" for number in range(len(project.clicks))]
    project.clicks = project.clicks.append_column("tags", pa.array(tags))
    project.config["features"].append({"type": "own_features:Tags", "name": "tags"})
    project.write()
    project.labels("first")
    assert (project.folder / "first/vocabulary/tags.txt").read_text() == "red\nsale\n"
    manifest = json.loads((project.folder / "first/manifest.json").read_text())
    assert manifest["vocabularies"]["tags"] == "own_features:Tags string"

    project.clicks = project.clicks.set_column(len(project.clicks.schema) - 1, "tags", pa.array(["new"] * len(tags)))
    project.config["labels"]["grow_from"] = "first"
    project.write()
    project.labels("second")
    assert (project.folder / "second/vocabulary/tags.txt").read_text() == "red\nsale\nnew\n"


@pytest.mark.usefixtures("own_features")
def test_values_that_are_not_one_per_click_are_refused_with_the_types_name(project):
    project.config["features"].append({"type": "own_features:Rhythm", "name": "rhythm"})
    project.write()
    message = "^feature type 'own_features:Rhythm' of feature 'rhythm', select: expected one value per click: [0-9]+; found 1$"
    with pytest.raises(MalTfError, match=message):
        project.labels()
