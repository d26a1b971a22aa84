from mal_tf.serving.check import Checked
from pipelines.retrain import infra
from tests.support.requests import INPUTS


def test_what_is_too_slow_is_a_reason_beside_what_is_wrong(monkeypatch):
    asked = []

    def check(*given):
        asked.append(given)
        timings = {"predict_raw": {"p50": 1.0, "p99": 2000.0}, "serving_default": {"p50": 1.0, "p99": 9.0}}
        return Checked(["warm-up requests: unreadable"], 1.0, timings)

    monkeypatch.setattr(infra, "check_export", check)
    found = infra.check("v/1", INPUTS, infra.InfraConfig(calls=5, latency_ms=10, timeout_s=7))
    assert asked == [("v/1", {name: (inputs, None) for name, inputs in INPUTS.items()}, 5, 7)]
    assert found.reasons == [
        "v/1: warm-up requests: unreadable",
        "v/1: predict_raw takes 2,000.0 ms (p99 of 5 calls); the limit is 10 ms",
    ]
    assert len(infra.check("v/1", INPUTS, infra.InfraConfig(calls=5)).reasons) == 1
