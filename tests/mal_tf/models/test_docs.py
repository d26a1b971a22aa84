"""The examples of docs/models.md, run as they stand there."""

import pathlib
import re
import sys
import types

import pytest
import yaml

from mal_tf.models import catalog
from mal_tf.models.config import CONFIGS, PYMAL, ModelConfig, config_class
from mal_tf.training.config import TrainingConfig
from tests.support.models import ROWS, build

TEXT = (pathlib.Path(__file__).parents[3] / "docs/models.md").read_text()
BLOCKS = re.findall(r"```(yaml|python)\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def own_model(monkeypatch):
    """The module of the guide's own model, as if it were installed."""
    source = next(text for kind, text in BLOCKS if kind == "python")
    module = types.ModuleType("my_models.gated")
    monkeypatch.setitem(sys.modules, "my_models", types.ModuleType("my_models"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(source, module.__dict__)


@pytest.mark.parametrize("block", [text for kind, text in BLOCKS if kind == "yaml"])
def test_configs_are_valid(block, own_model):
    found = yaml.safe_load(block)
    ModelConfig.model_validate({"primary": "last"} | found["model"])
    TrainingConfig.model_validate(found.get("training", {}))


def test_table_names_every_model_and_its_own_keys():
    table = TEXT.split("## Ablations")[0].split("| `name` |")[1]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", table, re.MULTILINE)
    common = ModelConfig.model_fields
    assert {name: re.findall(r"\w+", keys) for name, keys in rows} == {
        name: [key for key in own.model_fields if key not in common] for name, own in CONFIGS.items()
    }
    assert list(CONFIGS) == list(catalog.MODELS)


def test_own_model(own_model, monkeypatch):
    monkeypatch.setattr(catalog, "MODELS", dict(catalog.MODELS))
    catalog.register("gated", "my_models.gated:build")
    for name in ("my_models.gated", "my_models.gated:build", "gated"):
        network = build(name, rank=2)
        assert {key: value.shape for key, value in network.model(ROWS).items()} == dict.fromkeys(
            ("last", "first", "linear"), (2,)
        )
        assert network.model.get_layer("last_feature_gate").get_config()["rank"] == 2
    with pytest.raises(ValueError, match="unknown key 'ranks'; did you mean 'rank'"):
        ModelConfig(name="gated", primary="last", ranks=2)
    with pytest.raises(ValueError, match="'gated' is taken by the model my_models.gated:build"):
        catalog.register("gated", "another:build")


def test_preset_has_only_keys_of_the_config():
    assert set(PYMAL) <= set(config_class(list(catalog.MODELS)).model_fields)
