import numpy as np
import pytest
from scipy.special import expit

from features.keras2 import tf
from features.spec import INT64_MISSING, CategoricalFeature
from mal_tf.calibration.calibration import fit
from mal_tf.calibration.in_graph import ServedCalibration
from tests.support.calibration import market

TOKENS = {"string": [b"a", b"b", b"", b"never seen"], "int64": [3, 4, INT64_MISSING, 5]}
LOGITS = np.array([-1e9, -50, -7.25, -2, 0, 3.5, 50, 1e9], np.float32)


@pytest.fixture(scope="module", params=["string", "int64"])
def by_slice(request):
    """A feature, a calibration by it, its in-graph twin, and tokens: three with a curve of their own, one without."""
    dtype, (logit, label) = request.param, market()
    shifted = [logit, logit + 1, logit * 2]
    values = np.repeat(np.array(TOKENS[dtype][:3], object if dtype == "string" else np.int64), len(logit))
    found = fit("isotonic", np.concatenate(shifted), np.tile(label, 3), values, 100)
    feature = CategoricalFeature(type="categorical", name="shop", dtype=dtype)
    return found, ServedCalibration(found, feature), np.array(TOKENS[dtype], values.dtype)


def test_the_graph_answers_as_numpy_does(by_slice):
    found, served, tokens = by_slice
    logits, values = np.repeat(LOGITS, len(tokens)), np.tile(tokens, len(LOGITS))
    answered = served(tf.constant(logits), {"shop": tf.constant(values)})
    assert answered.dtype == tf.float32
    np.testing.assert_allclose(answered, found(logits, values), rtol=1e-6, atol=1e-30)
    assert len({tuple(answered.numpy()[values == token].tolist()) for token in tokens}) == 4
    assert np.isfinite(answered).all() and (answered.numpy() >= 0).all() and (answered.numpy() <= 1).all()


def test_no_click_one_click_and_one_value_for_all(by_slice):
    found, served, tokens = by_slice
    graph = tf.function(lambda logits, value: served(logits, {"shop": value}))
    assert graph(tf.constant(LOGITS[:0]), tf.constant(tokens[:0])).shape == [0]
    assert graph(tf.constant(LOGITS[:0]), tf.constant(tokens[:1])).shape == [0]
    for logits in (LOGITS[2:3], LOGITS):
        expected = found(logits, np.repeat(tokens[1:2], len(logits)))
        np.testing.assert_allclose(
            graph(tf.constant(logits), tf.constant(tokens[1:2])), expected, rtol=1e-6, atol=1e-30
        )


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_without_slices(method):
    found = fit(method, *market())
    served = ServedCalibration(found)
    np.testing.assert_allclose(served(tf.constant(LOGITS), {}), expit(found.overall(LOGITS)), rtol=1e-6, atol=1e-30)
    assert np.isnan(served(tf.constant([np.nan]), {}).numpy()).all()
