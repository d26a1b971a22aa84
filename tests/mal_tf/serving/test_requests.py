import numpy as np

from features.keras2 import tf
from mal_tf.serving.requests import signature_requests
from tests.support.models import SPEC
from tests.support.requests import INPUTS


def test_the_same_clicks_for_each_signature():
    examples = tf.constant(INPUTS["serving_default"]["examples"])
    found = signature_requests(examples, SPEC, ["seen"])
    assert list(found) == list(INPUTS)
    for signature, inputs in INPUTS.items():
        assert found[signature].keys() == inputs.keys()
        for name, values in inputs.items():
            np.testing.assert_array_equal(found[signature][name], values)
    assert list(signature_requests(examples, SPEC)) == ["serving_default", "predict_raw"]
