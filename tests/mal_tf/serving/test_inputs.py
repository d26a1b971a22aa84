import logging

import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.serving.inputs import check_examples, check_features


def signatures(*names):
    """Functions of a shop and a price."""
    takes = {"shop": tf.TensorSpec([None], tf.string, "shop"), "price": tf.TensorSpec([None], tf.float32, "price")}
    function = tf.function(lambda *, shop, price: {"cvr": price}).get_concrete_function(**takes)
    return dict.fromkeys(names, function)


def clicks(*features: dict[str, str]) -> np.ndarray:
    def example(values):
        lists = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode()])) for name, v in values.items()
        }
        return tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString()

    return np.array([example(values) for values in features], object)


def test_a_model_of_other_features_is_refused_and_one_of_some_more_warned_of(caplog):
    model = signatures("predict_raw")
    with caplog.at_level(logging.WARNING, "mal_tf.serving"):
        check_features(model, ["price", "shop", "item"], "model 'm'", "runs/a/labels")
        assert not caplog.text
        check_features(model, ["shop"], "model 'm'", "runs/a/labels")
    assert "runs/a/labels has no price, which model 'm' treats as missing values" in caplog.text
    with pytest.raises(
        MalTfError, match=r"labels: expected features of model 'm' \(price, shop\), found none of them but item"
    ):
        check_features(model, ["item"], "model 'm'", "runs/a/labels")
    check_features(signatures("serving_default"), ["item"], "model 'm'", "runs/a/labels")  # Nobody knows what it takes.


def test_clicks_are_others_when_a_hundred_have_no_value(caplog):
    model, cold = signatures("predict_raw"), [{"click_id": "7"}]
    check_examples(model, clicks(*cold * 99, {"shop": "a", "price": "1"}), "model 'm'", "day.gz")
    check_examples(model, clicks(), "model 'm'", "day.gz")
    with pytest.raises(MalTfError, match="day.gz: expected features of model 'm' .* none of them but click_id"):
        check_examples(model, clicks(*cold * 100), "model 'm'", "day.gz")
    assert not caplog.text
    check_examples(model, clicks(*cold * 99), "model 'm'", "day.gz")  # They may miss all values.
    assert "day.gz: no click has a value of a feature of model 'm' (price, shop): all are missing values" in caplog.text
    with pytest.raises(MalTfError, match="day.gz: expected tf.Examples, found a record that is not a tf.Example"):
        check_examples(model, np.array([b"garbage"], object), "model 'm'", "day.gz")
