import numpy as np
import pytest
from hypothesis import given

from features.errors import MalTfError
from mal_tf.attribution.catalog import create
from tests.mal_tf.attribution.logs import LOG, RULES, build, eligible, split


def _oracle(name, clicks, mine):
    order = sorted(mine, key=lambda click: (clicks[click][1], click))  # ties by click id
    if name == "linear":
        return {click: 1 / len(mine) for click in mine}
    return {order[0 if name == "first" else -1]: 1.0} if mine else {}


@pytest.mark.parametrize("name", ["first", "last", "linear"])
@given(clicks=LOG, conversions=LOG, rules=RULES)
def test_credits_match_the_oracle(name, clicks, conversions, rules):
    clicks, conversions = sorted(clicks), sorted(conversions)
    journeys = build(clicks, conversions, rules)
    credit = create(name, {}).credit(journeys)
    assert credit.dtype == np.float64
    assert (credit >= 0).all()
    expected = eligible(clicks, conversions, rules)
    for mine, touches, credits in zip(expected, split(journeys, journeys.click), split(journeys, credit), strict=True):
        assert {t: c for t, c in zip(touches, credits, strict=True) if c} == _oracle(name, clicks, mine)
        assert sum(credits) == pytest.approx(1.0 if mine else 0.0)


def test_unknown_mechanism_and_parameters_are_named():
    with pytest.raises(
        MalTfError, match="unknown attribution mechanism 'lats'; did you mean 'last'\\? Known: first, last"
    ):
        create("lats", {})
    with pytest.raises(MalTfError, match="'last' does not take these parameters"):
        create("last", {"half_life": 3})
