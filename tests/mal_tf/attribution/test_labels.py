import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import MalTfError
from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import JourneyRules
from mal_tf.attribution.labels import ClickCredit, cat_label, implied, path_length
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


def _implied(parameters, windows):
    kinds = {name: create(name.partition(":")[0], values) for name, values in parameters.items()}
    return set(implied(kinds, {name: JourneyRules(window) for name, window in windows.items()}))


def test_what_labels_imply_by_hand():
    kinds = {"first": {}, "last": {}, "linear": {}, "shao_li": {}, "position": {}, "time_decay": {}}
    to_linear = {(name, "linear") for name in kinds if name != "linear"}
    to_position = {(name, "position") for name in kinds if name != "position"}
    same = dict.fromkeys(kinds, 24)
    assert _implied(kinds, same) == to_linear | to_position | {("last", "time_decay")}
    # A click that is first in a day is anywhere in a week; one that is last stays last; one of a week may be none of a day.
    kinds = {"first": {}, "last": {}, "first:week": {}, "last:week": {}, "linear:week": {}}
    windows = {name: 168 if "week" in name else 24 for name in kinds}
    to_linear = {(name, "linear:week") for name in kinds if name != "linear:week"}
    assert _implied(kinds, windows) == to_linear | {("last", "last:week")}
    ends = {"first": {}, "last": {}, "linear": {}, "position": {"first": 0, "last": 1}}
    assert ("last", "position") in _implied(ends, dict.fromkeys(ends, 24))
    assert ("first", "position") not in _implied(ends, dict.fromkeys(ends, 24))
    nobody = {"linear": {}, "position": {"first": 0.5, "last": 0.5}}
    assert _implied(nobody, dict.fromkeys(nobody, 24)) == {("position", "linear")}


@given(LOG, LOG, RULES, st.integers(0, 14), st.sampled_from([(0.4, 0.4), (0, 0), (0, 1), (1, 0), (0, 0.3), (0.5, 0.5)]))
def test_no_journey_goes_against_what_labels_imply(clicks, conversions, rules, longer, shares):
    clicks, conversions = sorted(clicks), sorted(conversions)
    position = {"first": shares[0], "last": shares[1]}
    kinds = {"first": {}, "last": {}, "linear": {}, "time_decay": {}, "position": position}
    mechanisms = {f"{name}:{which}": create(name, kinds[name]) for name in kinds for which in ("one", "other")}
    of_windows = {
        name: rules if name.endswith("one") else dataclasses.replace(rules, window=longer) for name in mechanisms
    }
    positive = {}
    for name, mechanism in mechanisms.items():
        credit = ClickCredit(len(clicks))
        for block in spans(clicks, conversions, of_windows[name]).blocks(touches(clicks), cost=100):
            credit.add(block, mechanism.credit(block))
        positive[name] = credit.label > 0
    for name, other in implied(mechanisms, of_windows):
        assert not (positive[name] & ~positive[other]).any(), (name, other)
