import dataclasses

import numpy as np
import pytest
from hypothesis import given

from features.errors import MalTfError
from mal_tf.attribution.catalog import create
from mal_tf.attribution.labels import ClickCredit, cat_label, path_length
from tests.mal_tf.attribution.logs import LOG, RULES, eligible, spans, touches


@given(LOG, LOG, RULES)
def test_label_is_the_capped_sum_of_credits(clicks, conversions, rules):
    clicks, conversions = sorted(clicks), sorted(conversions)
    expected, longest = np.zeros(len(clicks)), [0] * len(clicks)
    for mine in eligible(clicks, conversions, rules):
        for click in mine:
            expected[click] += 1 / len(mine)
            longest[click] = max(longest[click], len(mine))
    credit, lengths = ClickCredit(len(clicks)), np.zeros(len(clicks), np.int64)
    for block in spans(clicks, conversions, rules).blocks(touches(clicks), cost=5):
        worth = dataclasses.replace(block, value=np.full(len(block), 2.5))
        credit.add(worth, create("linear", {}).credit(block))
        path_length(lengths, block)
    assert credit.label.dtype == np.float32
    assert credit.label == pytest.approx(np.minimum(expected, 1))
    assert credit.raw == pytest.approx(expected)
    assert credit.valued == pytest.approx(2.5 * expected)
    assert lengths.tolist() == longest


def test_cat_label_golden():
    labels = {"last": [0, 1, 0, 1, 0], "linear": [0, 0, 0.5, 0.2, 0], "mta": [0, 0, 0, 1e-9, 1]}
    found = cat_label({name: np.array(values, np.float32) for name, values in labels.items()})
    assert found.tolist() == [0, 1, 2, 7, 4]


@pytest.mark.parametrize("mechanisms", [0, 17])
def test_cat_label_of_too_few_or_too_many(mechanisms):
    with pytest.raises(MalTfError, match=f"1 to 16 mechanisms, found {mechanisms}"):
        cat_label({str(i): np.zeros(1) for i in range(mechanisms)})
