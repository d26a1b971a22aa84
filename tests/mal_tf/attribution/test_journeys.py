import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.attribution.journeys import JourneyRules, other_spans
from tests.mal_tf.attribution.logs import LOG, RULES, build, eligible, events, spans, split, touches


@given(LOG, LOG, RULES)
def test_converting_journeys_match_the_oracle(clicks, conversions, rules):
    clicks, conversions = sorted(clicks), sorted(conversions)
    journeys = build(clicks, conversions, rules)
    expected = eligible(clicks, conversions, rules)
    assert len(journeys) == len(conversions)
    assert split(journeys, journeys.click) == expected
    ages = [[conversions[i][1] - clicks[c][1] for c in mine] for i, mine in enumerate(expected)]
    assert split(journeys, journeys.age) == ages
    assert journeys.touchpoint.tolist() == [c % 3 for mine in expected for c in mine]


def test_window_is_included():
    found = build([(0, 0), (0, 1)], [(0, 10), (0, 11)], JourneyRules(window=10))
    assert split(found, found.click) == [[0, 1], [1]]


def test_huge_window_reaches_no_other_group():
    found = build([(0, 5), (1, 5)], [(1, 5)], JourneyRules(window=10**15))
    assert found.click.tolist() == [1]


@pytest.mark.parametrize("simultaneous", [True, False])
def test_conversions_of_one_time_do_not_reset_each_other(simultaneous):
    rules = JourneyRules(window=20, simultaneous=simultaneous, reset_after_conversion=True)
    clicks, conversions = [(0, 1), (0, 2), (0, 6), (1, 2)], [(0, 5), (0, 5), (0, 9), (0, 9), (0, 9), (1, 9)]
    assert split(build(clicks, conversions, rules), build(clicks, conversions, rules).click) == (
        [[0, 1]] * 2 + [[2]] * 3 + [[3]]
    )


def test_simultaneous_click_goes_to_the_next_conversion_when_not_eligible():
    clicks, conversions = [(0, 5)], [(0, 5), (0, 7)]
    spent = build(clicks, conversions, JourneyRules(10, True, True))
    assert split(spent, spent.click) == [[0], []]
    kept = build(clicks, conversions, JourneyRules(10, False, True))
    assert split(kept, kept.click) == [[], [0]]


@given(LOG, st.integers(0, 6), st.data())
def test_other_journeys_are_maximal_runs(clicks, window, data):
    clicks = sorted(clicks)
    claimed = data.draw(st.lists(st.booleans(), min_size=len(clicks), max_size=len(clicks)))
    runs = []
    for i, (group, time) in enumerate(clicks):
        if claimed[i]:
            continue
        follows = runs and runs[-1][-1] == i - 1 and clicks[i - 1][0] == group and time - clicks[i - 1][1] <= window
        runs[-1].append(i) if follows else runs.append([i])
    found = other_spans(events(clicks), np.array(claimed, bool), window).journeys(touches(clicks))
    assert split(found, found.click) == runs
    assert split(found, found.age) == [[clicks[run[-1]][1] - clicks[i][1] for i in run] for run in runs]
    assert not found.value.any()


@given(LOG, LOG, RULES, st.integers(1, 30))
def test_blocks_are_the_journeys_in_order_and_bounded(clicks, conversions, rules, cost):
    clicks, conversions = sorted(clicks), sorted(conversions)
    whole = build(clicks, conversions, rules)
    blocks = list(spans(clicks, conversions, rules).blocks(touches(clicks), cost))
    assert [c for b in blocks for c in split(b, b.click)] == split(whole, whole.click)
    assert sum(len(b) for b in blocks) == len(conversions)
    assert all(len(b) == 1 or (b.lengths + np.minimum(b.lengths, 3) ** 2).sum() <= cost for b in blocks)
    taken = whole.take(np.arange(len(whole))[::-1])
    assert split(taken, taken.age) == split(whole, whole.age)[::-1]


@given(LOG, LOG, RULES)
def test_covered_clicks_are_those_of_any_journey(clicks, conversions, rules):
    clicks, conversions = sorted(clicks), sorted(conversions)
    expected = {c for mine in eligible(clicks, conversions, rules) for c in mine}
    assert set(np.flatnonzero(spans(clicks, conversions, rules).covered(len(clicks)))) == expected
