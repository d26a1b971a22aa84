"""Evaluation of tables in memory: what is evaluated, and what is refused."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mal_tf
from features.errors import BadInput

CLICKS = pd.DataFrame({"user_id": ["a", "a", "b"], "mature": [1, 1, 0], "label_last": [1.0, 0.0, 0.0]})


@pytest.mark.parametrize("clicks", [CLICKS, pa.Table.from_pandas(CLICKS)])
def test_a_column_of_predictions_is_as_good_as_a_vector(clicks):
    vector = np.array([0.5, 0.25, 0.25])
    found = mal_tf.evaluate(clicks, {"vector": vector, "column": vector[:, np.newaxis], "list": vector.tolist()})
    assert found["clicks"].tolist() == [2, 2, 2]
    assert found["log_loss"].nunique() == 1


def test_without_mature_clicks_a_warning_names_the_reason(caplog):
    with caplog.at_level(logging.WARNING, "mal_tf"):
        found = mal_tf.evaluate(CLICKS.assign(mature=0), {"mine": [0.5, 0.5, 0.5]})
    assert found["clicks"].tolist() == [0]
    assert "none of 3 clicks is mature, so all metrics are NaN" in caplog.text


@pytest.mark.parametrize(
    ("clicks", "predictions", "message"),
    [
        (CLICKS, {"m": [0.5]}, r"predictions of 'm': expected one per click, shape \(3,\); found \(1,\)"),
        (CLICKS, {"m": np.zeros((3, 2))}, r"found \(3, 2\)"),
        (CLICKS, {"m": [0.5, np.nan, 0.5]}, "expected probabilities, numbers in .0, 1.; found nan in row 1"),
        (CLICKS, {"m": [0.5, 0.5, 1.5]}, "found 1.5 in row 2 and 0 more outside; apply a sigmoid to logits"),
        (CLICKS, {"m": ["a", "b", "c"]}, "found values of type <U1"),
        (CLICKS, np.zeros(3), "expected arrays by name of the model, such as .*; found ndarray"),
        (CLICKS, {}, "found none"),
        (CLICKS.drop(columns="mature"), {"m": [0.5] * 3}, "column 'mature' is missing; found columns: user_id"),
        (CLICKS.drop(columns="label_last"), {"m": [0.5] * 3}, "expected a column label_<mechanism>"),
    ],
)
def test_refuses(clicks, predictions, message):
    with pytest.raises(BadInput, match=message):
        mal_tf.evaluate(clicks, predictions)
