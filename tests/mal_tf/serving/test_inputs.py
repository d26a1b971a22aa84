import logging

import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.serving.inputs import check_inputs


class Export(tf.Module):
    """Takes a shop and a price."""

    def __init__(self, *names):
        takes = {"shop": tf.TensorSpec([None], tf.string, "shop"), "price": tf.TensorSpec([None], tf.float32, "price")}
        function = tf.function(lambda *, shop, price: {"cvr": price}).get_concrete_function(**takes)
        self.signatures = dict.fromkeys(names, function)


def clicks(*features: dict[str, str]) -> np.ndarray:
    def example(values):
        lists = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode()])) for name, v in values.items()
        }
        return tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString()

    return np.array([example(values) for values in features], object)


def test_clicks_without_any_of_the_features_are_refused_and_those_without_some_warned_of(caplog):
    model = Export("predict_raw")
    with caplog.at_level(logging.WARNING, "mal_tf.serving"):
        check_inputs(model, clicks({"shop": "a"}, {"price": "1", "click_id": "7"}), "model 'm'", "day.gz")
        assert not caplog.text  # A missing value leaves its feature out.
        check_inputs(model, clicks({"shop": "a"}, {"shop": "b"}), "model 'm'", "day.gz")
    assert "day.gz: the first 2 clicks lack price, which model 'm' takes for missing values" in caplog.text
    with pytest.raises(
        MalTfError, match=r"day.gz: expected features of model 'm' \(price, shop\), found none .* but item: it"
    ):
        check_inputs(model, clicks({"item": "a"}), "model 'm'", "day.gz")


def test_what_can_t_be_known_is_not_held_against_a_model():
    check_inputs(Export("serving_default"), clicks({"item": "a"}), "m", "day.gz")
    check_inputs(Export("predict_raw"), clicks(), "m", "day.gz")
