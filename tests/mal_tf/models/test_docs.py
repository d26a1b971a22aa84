"""The examples of docs/models.md, run as they stand there."""

import pathlib
import re
import sys
import types

import pytest
import yaml

from features.keras2 import tf
from mal_tf.models import catalog
from mal_tf.models.config import PYMAL, ModelConfig
from mal_tf.training.config import TrainingConfig
from tests.mal_tf.models.test_models import ROWS, build

TEXT = (pathlib.Path(__file__).parents[3] / "docs/models.md").read_text()
BLOCKS = re.findall(r"```(yaml|python)\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", [text for kind, text in BLOCKS if kind == "yaml"])
def test_configs_are_valid(block):
    found = yaml.safe_load(block)
    ModelConfig.model_validate({"primary": "last"} | found["model"])
    TrainingConfig.model_validate(found.get("training", {}))


def test_table_names_every_model():
    table = TEXT.split("## Ablations")[0].split("| `name` |")[1]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(catalog.MODELS)


def test_own_model(monkeypatch):
    source = next(text for kind, text in BLOCKS if kind == "python")
    module = types.ModuleType("mal_tf.models.gated")
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(catalog.MODELS, "gated", module.__name__)
    outputs = build("gated").model(ROWS)
    assert {name: tf.sigmoid(value).shape for name, value in outputs.items()} == dict.fromkeys(
        ("last", "first", "linear"), (2,)
    )


def test_preset_has_only_keys_of_the_config():
    assert set(PYMAL) <= set(ModelConfig.model_fields)
