"""Requests to the signatures of an exported model, built from labelled examples."""

from collections.abc import Sequence

import numpy as np

from features.keras2 import tf
from features.parsing import parse_features
from features.spec import FeatureSpec
from mal_tf.serving.candidates import requests_for_one_user
from mal_tf.serving.export import CANDIDATES


def signature_requests(
    examples: tf.Tensor, spec: FeatureSpec, user_features: Sequence[str] = ()
) -> dict[str, dict[str, np.ndarray]]:
    """Inputs of each signature for the same clicks.

    Args:
        examples: string [batch], serialized tf.Examples.
        spec: features.
        user_features: names of the user's features. If given, there is a request to `predict_candidates`, which scores the
            ads of all clicks for the user of the first click.
    """
    raw = {name: values.numpy() for name, values in parse_features(examples, spec).items()}
    requests = {"serving_default": {"examples": examples.numpy()}, "predict_raw": raw}
    return requests | ({CANDIDATES: requests_for_one_user(raw, user_features)[0]} if user_features else {})
