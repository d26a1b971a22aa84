import itertools
import json
import pathlib

import pytest

from pipelines.retrain import serving

pytest.importorskip("tfx", reason="TFX is not installed; `make test-tfx` makes an environment with it")

from tfx import v1 as tfx
from tfx.utils.path_utils import serving_model_dir

from pipelines.retrain.tfx import push as tfx_push

LINEAGE = {"span": "2024-01-09", "model": "m", "run": "r"}
types = tfx.types.standard_artifacts


@pytest.fixture
def push(tmp_path):
    """Runs the executor on a model, with both blessings: what it says of the push."""
    model = types.Model()
    model.uri = str(tmp_path / "model")
    saved = pathlib.Path(serving_model_dir(model.uri))
    (saved / serving.LINEAGE).parent.mkdir(parents=True)
    (saved / serving.LINEAGE).write_text(json.dumps(LINEAGE))
    (saved / "saved_model.pb").write_text("graph")
    destination = tfx.proto.PushDestination(
        filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
    )

    def run(blessed, infra):
        blessings = types.ModelBlessing(), types.InfraBlessing()
        blessings[0].set_int_custom_property("blessed", int(blessed))
        blessings[1].set_string_custom_property("blessing_status", "INFRA_BLESSED" if infra else "INFRA_NOT_BLESSED")
        blessings[1].set_int_custom_property("blessed", int(infra))
        pushed = types.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        inputs = {"model": [model], "model_blessing": [blessings[0]], "infra_blessing": [blessings[1]]}
        properties = {"push_destination": tfx_push.json_format.MessageToJson(destination)}
        tfx_push.Executor().Do(inputs, {"pushed_model": [pushed]}, properties)
        return pushed.get_int_custom_property("pushed"), pushed.get_string_custom_property("pushed_version")

    return run


@pytest.mark.parametrize("blessed, infra", itertools.product([True, False], repeat=2))
def test_only_what_is_blessed_and_servable_appears(push, blessed, infra, tmp_path):
    holds = blessed and infra
    assert push(blessed, infra) == ((1, "1") if holds else (0, ""))
    found = serving.versions(str(tmp_path / "serving"))
    assert found == ([serving.Version(1, str(tmp_path / "serving" / "1"), LINEAGE)] if holds else [])


def test_pushed_twice_it_is_one_version(push, tmp_path):
    assert push(True, True) == push(True, True) == (1, "1")
    assert len(serving.versions(str(tmp_path / "serving"))) == 1
