"""Scoring of many candidate ads for one user, with the user's features embedded once per request."""

from collections.abc import Mapping, Sequence

import numpy as np

from features.keras2 import keras, tf
from features.parsing import raw_signature
from features.spec import FeatureSpec
from mal_tf.models.network import Network


def candidates_signature(spec: FeatureSpec, user_features: Sequence[str]) -> dict[str, tf.TensorSpec]:
    """Raw model inputs as in `raw_signature`, but with the user's features given once: single values [1], lists [1, any]."""
    return {
        name: tf.TensorSpec([1, *raw.shape[1:]] if name in user_features else raw.shape, raw.dtype, name)
        for name, raw in raw_signature(spec).items()
    }


def requests_for_one_user(
    raw: Mapping[str, np.ndarray], user_features: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Requests that score the ads of all clicks for the user of the first click.

    Args:
        raw: values by feature, the inputs of `predict_raw`.
        user_features: names of the user's features.

    Returns:
        Inputs of `predict_candidates`, and equivalent inputs of `predict_raw`.
    """
    users = {name: raw[name][:1] for name in user_features}
    return {**raw, **users}, {**raw, **{name: np.repeat(users[name], len(raw[name]), axis=0) for name in users}}


class CandidateNetwork:
    """Logits of the primary target for one user and many ads.

    The network is split above its embedding tables. Below the split, the user's features are looked up once. Their histories
    are not repeated, because attention layers accept a single history for all queries; other features are repeated for each
    ad. The rest of the network is unchanged.

    Args:
        spec: features.
        network: trained network.
        user_features: names of the user's features; at least one feature must not be the user's.
    """

    def __init__(self, spec: FeatureSpec, network: Network, user_features: Sequence[str]):
        model = network.model
        self._ad = next(f.name for f in spec.features if f.name not in user_features)
        self._repeated = set(user_features) - {f.name for f in spec.features if f.serves_once}
        embedded = {
            rows.name: embeddings
            for stack in network.stacks
            for rows, embeddings in zip(tf.nest.flatten(stack.input), tf.nest.flatten(stack.output), strict=True)
        }
        self._direct = [feature.name for feature in spec.read_directly]
        self._embed = keras.Model(model.input, embedded)
        above = [*embedded.values(), *(model.input[name] for name in self._direct)]
        self._rest = keras.Model(above, model.output[network.primary.output])

    def __call__(self, rows: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Maps rows by feature, [1, …] of the user's features and [candidates, …] of others, to logits float [candidates]."""
        embedded = self._embed(rows, training=False)
        candidates = tf.shape(rows[self._ad])[0]
        inputs = [*embedded.items(), *((name, rows[name]) for name in self._direct)]
        return self._rest(
            [tf.repeat(v, candidates, axis=0) if name in self._repeated else v for name, v in inputs], training=False
        )
