import json

import numpy as np
import pytest
from scipy.special import expit

from features.spec import INT64_MISSING
from mal_tf.calibration.calibration import fit, from_json, to_json
from tests.support.calibration import market

#: By slice: clicks, and by how much its logits are too high. The last has too few positives.
SLICES = {b"a": (8000, 0.0), b"b": (8000, 1.5), b"": (8000, -1.0), b"small": (60, 2.0)}


@pytest.fixture(scope="module")
def clicks():
    logit, label, values = [], [], []
    for seed, (token, (count, over)) in enumerate(SLICES.items()):
        of, came = market(count, seed)
        logit, label, values = [*logit, of + over], [*label, came], [*values, *[token] * count]
    return np.concatenate(logit), np.concatenate(label), np.array(values, object)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_each_large_slice_gets_its_own_and_the_others_the_overall_curve(clicks, method):
    logit, label, values = clicks
    found = fit(method, logit, label, values, min_positives=100)
    assert sorted(found.slices) == ["", "a", "b"]
    for token in SLICES:
        mine = values == token
        predicted = found(logit[mine], values[mine])
        if token == b"small":
            np.testing.assert_array_equal(predicted, expit(found.overall(logit[mine])))
        else:
            assert predicted.sum() == pytest.approx(label[mine].sum(), rel=1e-3)
            alone = fit(method, logit[mine], label[mine])
            np.testing.assert_array_equal(predicted, alone(logit[mine]))
    np.testing.assert_array_equal(found.overall(logit), fit(method, logit, label).overall(logit))
    unknown = np.array([b"never seen", b"\xff\xfe"], object)
    np.testing.assert_array_equal(found(logit[:2], unknown), expit(found.overall(logit[:2])))


def test_text_bytes_and_numbers_are_tokens(clicks):
    logit, label, values = clicks
    as_text = np.array([value.decode() for value in values], object)
    as_bytes, numbers = (
        fit("platt", logit, label, values, 100),
        np.select([values == b"a", values == b""], [7, INT64_MISSING], 8),
    )
    np.testing.assert_array_equal(fit("platt", logit, label, as_text, 100)(logit, as_text), as_bytes(logit, values))
    assert sorted(fit("platt", logit, label, numbers, 100).slices) == [str(INT64_MISSING), "7", "8"]


def test_order_of_clicks_does_not_matter_and_json_keeps_every_bit(clicks):
    logit, label, values = clicks
    found = fit("isotonic", logit, label, values, 100)
    order = np.random.default_rng(0).permutation(len(logit))
    shuffled = fit("isotonic", logit[order], label[order], values[order], 100)
    np.testing.assert_allclose(shuffled(logit, values), found(logit, values), atol=1e-9)
    again = from_json(json.loads(json.dumps({"method": "isotonic"} | to_json(found))))
    np.testing.assert_array_equal(again(logit, values), found(logit, values))


def test_a_slice_of_one_class_falls_back():
    logit, label = np.zeros(40), np.append(np.ones(20), np.zeros(20))
    values = np.array(["all"] * 20 + ["none"] * 20, object)
    assert fit("platt", logit, label, values, min_positives=1).slices == {}
