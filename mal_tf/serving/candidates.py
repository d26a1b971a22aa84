"""One user, many candidate ads: what depends on the user alone is computed once per request."""

from collections.abc import Mapping, Sequence

import numpy as np

from features.keras2 import keras, tf
from features.parsing import raw_signature
from features.spec import FeatureSpec
from mal_tf.models.network import Network


def candidates_signature(spec: FeatureSpec, user_features: Sequence[str]) -> dict[str, tf.TensorSpec]:
    """As `raw_signature`, but the user's features once: single values [1], lists [1, any]."""
    return {
        name: tf.TensorSpec([1, *of.shape[1:]] if name in user_features else of.shape, of.dtype, name)
        for name, of in raw_signature(spec).items()
    }


def of_one_user(
    raw: Mapping[str, np.ndarray], user_features: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The ads of all clicks for the user of the first.

    Args:
        raw: values by feature as `predict_raw` takes them.
        user_features: which features are the user's.

    Returns:
        Inputs of `predict_candidates`, and those of `predict_raw` for the same.
    """
    users = {name: raw[name][:1] for name in user_features}
    return {**raw, **users}, {**raw, **{name: np.repeat(users[name], len(raw[name]), axis=0) for name in users}}


class CandidateNetwork:
    """The primary's logits for one user and many ads, from rows as the network takes them.

    The network is cut above its embedding tables. Below, the user's features are looked up once. Of them, histories stay
    one, for attention layers take a single one for all queries; the others are repeated for each ad. The rest of the network
    runs as ever.

    Args:
        spec: features.
        network: trained model.
        user_features: which features are the user's; at least one is not.
    """

    def __init__(self, spec: FeatureSpec, network: Network, user_features: Sequence[str]):
        model = network.model
        self._ad = next(f.name for f in spec.features if f.name not in user_features)
        self._repeated = set(user_features) - {f.name for f in spec.features if f.serves_once}
        embedded = {
            rows.name: found
            for stack in network.stacks
            for rows, found in zip(tf.nest.flatten(stack.input), tf.nest.flatten(stack.output), strict=True)
        }
        self._direct = [feature.name for feature in spec.read_directly]
        self._embed = keras.Model(model.input, embedded)
        above = [*embedded.values(), *(model.input[name] for name in self._direct)]
        self._rest = keras.Model(above, model.output[network.primary.output])

    def __call__(self, rows: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Rows by feature, the user's [1, …], others [candidates, …], to logits float [candidates]."""
        embedded = self._embed(rows, training=False)
        candidates = tf.shape(rows[self._ad])[0]
        inputs = [*embedded.items(), *((name, rows[name]) for name in self._direct)]
        return self._rest(
            [tf.repeat(v, candidates, axis=0) if name in self._repeated else v for name, v in inputs], training=False
        )
