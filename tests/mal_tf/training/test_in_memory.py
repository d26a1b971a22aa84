"""Training on tables in memory: what does not fit is an error that says so before anything is trained."""

import numpy as np
import pandas as pd
import pytest

import mal_tf
from features.errors import BadInput, MalTfError
from features.keras2 import tf
from mal_tf.training import in_memory

FEATURES = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "place"}])
CLICKS = pd.DataFrame(
    {"click_id": range(4), "user_id": "a", "timestamp": range(4), "mature": 1, "place": "top"}
).assign(label_last=[1.0, 0.0, 0.0, 0.0], label_linear=0.0, label_cat=0)


@pytest.mark.parametrize(
    ("clicks", "keys", "message"),
    [
        (CLICKS, {"auxiliaries": ["nope"]}, "model: unknown target 'nope'; mechanisms with labels: last, linear$"),
        (CLICKS, {"primary": "nope"}, "model: unknown target 'nope'; mechanisms with labels: last, linear$"),
        (CLICKS.drop(columns="place"), {}, "clicks: column 'place' is missing; found columns: click_id"),
        (CLICKS.drop(columns="mature"), {}, "clicks: column 'mature' is missing"),
        (CLICKS.drop(columns="timestamp"), {}, "clicks: column 'timestamp' is missing"),
        (CLICKS[:0], {}, "clicks: expected clicks to train on, found a table without rows"),
        (
            CLICKS.assign(label_last=[1.0, None, 0.0, 0.0]),
            {},
            "column 'label_last': expected a value .* found 1 without",
        ),
        (CLICKS.assign(label_last="x"), {}, "column 'label_last': expected float, found string"),
    ],
)
def test_fit_refuses(clicks, keys, message):
    model = mal_tf.ModelConfig(**{"name": "mal", "primary": "last"} | keys)
    with pytest.raises(MalTfError, match=message):
        mal_tf.fit(clicks, FEATURES, model)
    if "place" not in clicks:
        with pytest.raises(BadInput, match=message):
            mal_tf.raw_features(clicks, FEATURES)


def test_labels_of_other_number_types_are_converted():
    lookup = mal_tf.lookup_model(FEATURES, {"place": ["top"]})
    clicks = CLICKS.assign(label_last=[1, 0, 0, 0], mature=[True, True, False, True])
    _, labels = next(iter(mal_tf.batches(clicks, FEATURES, lookup, ["last"], batch_size=4)))
    assert labels["last"].numpy().tolist() == [1, 0, 0, 0]
    assert labels["mature"].numpy().tolist() == [1, 1, 0, 1]


def test_an_error_in_memory_is_not_called_a_damaged_file(monkeypatch):
    def bad(*_):
        rows = {"place": tf.constant([2])}, {"last": tf.constant([1.0]), "mature": tf.constant([1], tf.int64)}
        return tf.data.Dataset.from_tensors(rows).map(lambda *pair: (tf.debugging.assert_equal(1, 2, "mine"), pair)[1])

    monkeypatch.setattr(in_memory, "batches", bad)
    with pytest.raises(tf.errors.InvalidArgumentError, match="mine"):
        mal_tf.fit(CLICKS, FEATURES, mal_tf.ModelConfig(name="base", primary="last"))


@pytest.mark.parametrize("targets", [[], ["linear"]])
def test_build_needs_the_primary_among_the_targets(targets):
    with pytest.raises(
        MalTfError, match=f"unknown target 'last'; mechanisms with labels: {', '.join(targets) or 'none'}"
    ):
        mal_tf.build(FEATURES, {"place": ["top"]}, mal_tf.ModelConfig(primary="last"), targets)


def test_predictions_of_a_column_without_values():
    trained = mal_tf.fit(CLICKS, FEATURES, mal_tf.ModelConfig(name="base", primary="last"))
    assert np.isfinite(trained.predict(pd.DataFrame({"place": [None, None]}))).all()
    assert trained.predict(CLICKS[:0]).shape == (0,)
