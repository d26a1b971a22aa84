"""The check of an export in a fresh process."""

import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.serving import check
from tests.support.requests import INPUTS

REQUESTS = {name: (inputs, None) for name, inputs in INPUTS.items()}


def test_answers_are_those_of_the_trained_model(version, cases):
    checked = check.verify(version, cases)
    assert checked.reasons == []
    assert checked.largest_difference <= 1e-6
    assert checked.load_s > 0
    assert set(checked.latency_ms) == set(cases)
    assert all(found["rows"] == 3 and 0 < found["p50"] <= found["p99"] for found in checked.latency_ms.values())


def test_another_models_answers_are_refused(version, cases):
    wrong = cases | {"predict_raw": (INPUTS["predict_raw"], cases["predict_raw"][1] + 0.1)}
    with pytest.raises(
        MalTfError, match="signature predict_raw, batch 3 differs from the in-memory model by 0.1"
    ) as raised:
        check.verify(version, wrong)
    assert "predict_raw, warm-up request differs" in str(raised.value)
    assert "serving_default" not in str(raised.value)


def test_without_expected_answers_they_need_only_be_valid(version):
    checked = check.check(version, REQUESTS, calls=5)
    assert (checked.reasons, checked.largest_difference) == ([], None)
    assert list(checked.latency_ms) == ["serving_default", "predict_raw", "predict_candidates"]


def test_an_unreadable_warmup_file_is_a_reason(tmp_path):
    double = tf.function(lambda x: {"cvr": x}, [tf.TensorSpec([None], name="x")])
    module = tf.Module()
    module.function = double
    tf.saved_model.save(module, str(tmp_path), {"serving_default": double.get_concrete_function()})
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra/tf_serving_warmup_requests").write_bytes(b"garbage of some length")
    (reason,) = check.check(str(tmp_path), {"serving_default": ({"x": np.zeros(2, np.float32)}, None)}).reasons
    assert reason.startswith("warm-up requests: ") and "can't be read" in reason


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
    cases = {name: ({"y" if name == "other_inputs" else "x": values}, None) for name in [*functions, "absent"]}
    found = check.check(path, cases, calls=5)
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
    assert all(reason.startswith(start) for reason, start in zip(found.reasons, expected, strict=True))
    assert "is not compatible with expected shape [2]" in found.reasons[4]
    assert found.load_s > 0


def test_what_does_not_load_is_a_reason(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"half of a mod")
    found = check.check(str(tmp_path), REQUESTS)
    assert len(found.reasons) == 1
    assert found.reasons[0].startswith("a fresh process that tried it ended with exit code 1: ")
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
    monkeypatch.setattr(check.sys, "executable", str(program))
    found = check.check("model", REQUESTS, timeout_s=0.5)
    assert len(found.reasons) == 1
    assert found.reasons[0].endswith(reason)
