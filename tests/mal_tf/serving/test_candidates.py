import numpy as np
import pytest

from features.keras2 import keras, tf
from features.lookup import lookup_model, table_sizes
from features.spec import FeatureSpec
from mal_tf.models import factory
from mal_tf.models.config import ModelConfig
from mal_tf.serving.candidates import CandidateNetwork, candidates_signature, requests_for_one_user

SPEC = FeatureSpec(
    features=[
        {"type": "numeric", "name": "age", "embedding_dim": 4},
        {"type": "categorical", "name": "item"},
        {"type": "categorical", "name": "shop", "dtype": "int64"},
        {"type": "history", "name": "seen", "of": "item", "length": 3},
        {"type": "history", "name": "shops", "of": "shop", "length": 2},
        {"type": "similarity", "name": "near", "length": 3},
    ]
)
VOCABULARIES = {"age": ["20", "40"], "item": ["a", "b", "c"], "shop": ["1", "2"]}
RAW = {
    "age": np.array([30, 50, np.nan, 10], np.float32),
    "item": np.array(["a", "b", "c", "never seen"], object),
    "shop": np.array([1, 2, 3, 1]),
    "seen": np.array([["c", "a", ""], ["", "", ""], ["b", "", ""], ["a", "a", "a"]], object),
    "shops": np.array([[2, 1], [1, 1], [2, 2], [1, 2]]),
    "near": np.array([[0.9, -0.2], [0.1, np.nan], [1, 1], [-1, 0]], np.float32),
}
DIN = {}
MULTI_HEAD = {"attention": "multi_head", "query": ["item", "shop"]}


@pytest.mark.parametrize("options", [DIN, MULTI_HEAD, {"mask_padding": False}], ids=["din", "multi_head", "no_mask"])
@pytest.mark.parametrize("users", [["age", "seen", "shops"], ["shop", "shops", "near"], ["item"]], ids=",".join)
def test_one_user_with_many_ads_is_as_each_click_alone(users, options):
    _as_each_click_alone(SPEC, users, options)


def _as_each_click_alone(spec, users, options):
    keras.utils.set_random_seed(3)
    config = ModelConfig(primary="last", **options)
    network = factory.build("mal", spec, table_sizes(spec, VOCABULARIES), config, ("first", "last"))
    lookup, candidates = lookup_model(spec, VOCABULARIES), CandidateNetwork(spec, network, users)
    once, repeated = requests_for_one_user(RAW, users)
    expected = network.model(lookup(tensors(repeated)))["last"]
    assert len(set(expected.numpy().tolist())) == 4
    np.testing.assert_allclose(candidates(lookup(tensors(once))), expected, atol=1e-6)
    nothing = {name: values if name in users else values[:0] for name, values in once.items()}
    assert candidates(lookup(tensors(nothing))).shape == [0]


@pytest.mark.parametrize("users", [["seen"], ["item", "seen"], ["shop", "shops"]], ids=",".join)
def test_hashed_features_too(users):
    hashed = {"hash_lookups": 2}
    features = [f.model_copy(update=hashed) if f.name in ("item", "shop") else f for f in SPEC.features]
    _as_each_click_alone(FeatureSpec(features=features, vocabulary={"hash_buckets": 50}), users, DIN)


def tensors(raw):
    return {name: tf.constant(values) for name, values in raw.items()}


def test_signature_has_one_user():
    shapes = {name: of.shape.as_list() for name, of in candidates_signature(SPEC, ["age", "seen"]).items()}
    expected = {
        "age": [1],
        "item": [None],
        "shop": [None],
        "seen": [1, None],
        "shops": [None, None],
        "near": [None, None],
    }
    assert shapes == expected
