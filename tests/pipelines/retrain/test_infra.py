import numpy as np
import pytest

from features.keras2 import tf
from features.lookup import lookup_model
from mal_tf.serving.export import ServedModel, export
from pipelines.retrain import infra
from tests.mal_tf.models.test_models import SPEC, VOCABULARIES, build
from tests.mal_tf.serving.conftest import INPUTS

CONFIG = infra.InfraConfig(rows=3, calls=5)


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    served = ServedModel(SPEC, lookup_model(SPEC, VOCABULARIES), build(), user_features=["seen"])
    return export(served, str(tmp_path_factory.mktemp("export")), {}, lambda _: 0.0)[0]


def test_an_export_that_can_serve(version):
    found = infra.check(version, INPUTS, CONFIG)
    assert found.reasons == []
    assert found.load_s > 0
    assert list(found.latency_ms) == ["serving_default", "predict_raw", "predict_candidates"]
    assert all(0 < of["p50"] <= of["p99"] for of in found.latency_ms.values())


def test_what_is_too_slow_is_a_reason(version):
    found = infra.check(version, INPUTS, CONFIG.model_copy(update={"latency_ms": 1e-4}))
    assert len(found.reasons) == 3
    assert "predict_raw takes" in found.reasons[1]
    assert found.reasons[1].endswith("ms (p99 of 5 calls); the limit is 0.0001 ms")


def test_each_wrong_answer_is_a_reason(tmp_path):
    answers = {
        "fine": lambda x: {"cvr": tf.clip_by_value(x, 0.0, 1.0)},
        "not_a_number": lambda x: {"cvr": x / (x - x)},
        "above": lambda x: {"cvr": x + 1.0},
        "short": lambda x: {"cvr": x[:1]},
        "misnamed": lambda x: {"output_0": x},
        "failing": lambda x: {"cvr": tf.ensure_shape(tf.where(x >= 0)[:, 0], [2])},
        "other_inputs": lambda x: {"cvr": x},
    }
    functions = {name: tf.function(of, [tf.TensorSpec([None], name="x")]) for name, of in answers.items()}
    module = tf.Module()
    module.functions = functions
    path = str(tmp_path / "1")
    tf.saved_model.save(module, path, {name: of.get_concrete_function() for name, of in functions.items()})
    values = np.array([0.0, 0.25, 1.0], np.float32)
    requests = {name: {"y" if name == "other_inputs" else "x": values} for name in [*functions, "absent"]}
    found = infra.check(path, requests, CONFIG)
    expected = [
        "not_a_number: 3 of 3 predictions are not in [0, 1], such as nan",
        "above: 2 of 3 predictions are not in [0, 1], such as 1.25",
        "short: expected 'cvr' of shape (3,), found {'cvr': (1,)}",
        "misnamed: expected 'cvr' of shape (3,), found {'output_0': (3,)}",
        "failing can't answer: ",
        "other_inputs can't answer: ",
        "expected a signature 'absent', found: fine, not_a_number, above, short, misnamed, failing, other_inputs",
    ]
    assert len(found.reasons) == len(expected), found.reasons
    assert all(reason.startswith(f"{path}: {start}") for reason, start in zip(found.reasons, expected, strict=True))
    assert "is not compatible with expected shape [2]" in found.reasons[4]
    assert found.load_s > 0


def test_what_does_not_load_is_a_reason(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"half of a mod")
    found = infra.check(str(tmp_path), INPUTS, CONFIG)
    assert len(found.reasons) == 1
    assert found.reasons[0].startswith(f"{tmp_path}: a fresh process that tried it ended with exit code 1: ")
    assert (found.load_s, found.latency_ms) == (None, {})


@pytest.mark.parametrize(
    "script, reason",
    [
        ("echo out of luck >&2; kill -9 $$", "ended with SIGKILL: out of luck"),
        ("exec sleep 60", "did not load and answer within 0.5 s"),
    ],
)
def test_a_process_that_dies_or_hangs_is_a_reason(tmp_path, monkeypatch, script, reason):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(infra.sys, "executable", str(program))
    found = infra.check("model", INPUTS, infra.InfraConfig(timeout_s=0.5))
    assert len(found.reasons) == 1
    assert found.reasons[0].startswith("model: ")
    assert found.reasons[0].endswith(reason)
