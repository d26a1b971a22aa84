import fractions
import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.errors import MalTfError
from mal_tf.attribution import shapley
from mal_tf.attribution.by_type import DistinctTypes
from mal_tf.attribution.catalog import create
from tests.mal_tf.attribution.logs import PATHS, by_hand, credits_of, fitted


def _values(mechanism, types):
    """φ by type of one set, in order of name."""
    return mechanism.contributions(DistinctTypes.from_journeys(by_hand([types]))).tolist()


def _rates(converting, other):
    """Share converted by set of types, exact."""
    sets = [[frozenset(path) for path in paths if path] for paths in (converting, other)]
    return {s: fractions.Fraction(sets[0].count(s), sum(x.count(s) for x in sets)) for s in {*sets[0], *sets[1]}}


def _oracle(rates, path):
    """φ by type: what each adds, over all orders of the types the fit saw."""
    players = sorted(set(path) & {name for s in rates for name in s})

    def worth(coalition):
        best = max([r for s, r in rates.items() if s <= set(coalition)], default=fractions.Fraction(0))
        return rates.get(frozenset(coalition), best)

    value = dict.fromkeys(path, fractions.Fraction(0))
    for order in itertools.permutations(players):
        for i, name in enumerate(order):
            value[name] += (worth(order[: i + 1]) - worth(order[:i])) / math.factorial(len(players))
    return value


def test_hand_worked():
    # v(a) = 1/2, v(b) = 0, v(ab) = 1: φ(a) = (1/2 + 1 − 0) / 2 = 3/4, φ(b) = (0 + 1 − 1/2) / 2 = 1/4.
    mechanism = fitted("shapley", [["a"], ["a", "b"]], [["a"], ["b"]])
    credits = credits_of(mechanism, [["a", "b"], ["b", "a", "a"], ["b"], []])
    assert credits[0] == pytest.approx([3 / 4, 1 / 4])
    assert credits[1] == pytest.approx([1 / 4, 3 / 8, 3 / 8])
    assert credits[2:] == [[0.0], []]


def test_parameters_are_the_counts_of_sets_in_order():
    mechanism = create("shapley", {})
    found = mechanism.fit(
        mechanism.statistics(by_hand([["b", "a", "b"], [], ["a", "b"]]), by_hand([["b"], ["b", "a"]]))
    )
    assert found == {
        "sets": [
            {"types": ["a", "b"], "converted": 2, "not_converted": 1},
            {"types": ["b"], "converted": 0, "not_converted": 1},
        ]
    }


@given(PATHS, PATHS, PATHS)
@example([["a", "b"], ["c", "d"]], [["a", "b", "c", "d"]], [["a", "b", "c", "d"]])  # All values are 0, of large parts.
def test_matches_the_oracle(converting, other, more):
    mechanism, rates = fitted("shapley", converting, other), _rates(converting, other)
    for path, credits in zip(more, credits_of(mechanism, more), strict=True):
        value = {name: max(v, 0) for name, v in _oracle(rates, path).items()}
        total = sum(value.values())
        expected = [value[name] / path.count(name) / total if total else 0 for name in path]
        assert credits == pytest.approx([float(e) for e in expected])
        # What is 0 is exactly 0, not a rounding error that would make a positive label.
        assert [c > 0 for c in credits] == [e > 0 for e in expected]


def test_a_set_nobody_saw_is_worth_its_best_seen_part():
    # v(a) = 1/2, v(b) = 1/4; v(ab) is taken to be 1/2: φ(a) = (1/2 + 1/4) / 2, φ(b) = (1/4 + 0) / 2.
    mechanism = fitted("shapley", [["a"], ["b"]], [["a"], ["b"], ["b"], ["b"]])
    assert _values(mechanism, ["a", "b"]) == pytest.approx([3 / 8, 1 / 8])


@pytest.mark.parametrize(("fallback", "expected"), [("none", [0, 0, 0]), ("linear", [1 / 3] * 3), ("last", [0, 0, 1])])
def test_fallback_for_types_the_fit_never_saw(fallback, expected):
    credits = credits_of(
        fitted("shapley", [["a"], ["a", "b"]], [["b"]], fallback=fallback), [["q", "r", "q"], ["q", "a"], []]
    )
    assert credits[0] == pytest.approx(expected)
    assert credits[1:] == [[0.0, 1.0], []]


def test_all_subsets_of_the_most_types_done_exactly():
    # v(R) = |R| / 16, plus 1/4 where types 0 and 1 are both in R: φ = 1/16 each, and 1/8 more for those two.
    names = [f"t{i}" for i in range(8)]
    mechanism = create("shapley", {})
    sets = [s for n in range(1, 9) for s in itertools.combinations(names, n)]
    mechanism.load({"sets": [_row(s, len(s) + 4 * ({"t0", "t1"} <= set(s)), 16) for s in sets]})
    assert _values(mechanism, names) == pytest.approx([3 / 16] * 2 + [1 / 16] * 6)


def _row(types, converted, journeys):
    return {"types": list(types), "converted": converted, "not_converted": journeys - converted}


def test_sampled_values_of_an_additive_game_are_exact():
    names = [f"t{i}" for i in range(10)]
    mechanism = create("shapley", {"permutations": 7})
    sets = [s for n in range(1, 11) for s in itertools.combinations(names, n)]
    mechanism.load({"sets": [_row(s, sum(int(name[1:]) for name in s), 45) for s in sets]})
    assert _values(mechanism, names) == pytest.approx([i / 45 for i in range(10)])


@settings(max_examples=40)
@given(PATHS, PATHS, st.booleans())
def test_sampled_values_are_those_of_an_order_and_its_reverse(converting, other, both):
    mechanism, rates = fitted("shapley", converting, other, permutations=1 + both, seed=3), _rates(converting, other)
    players = sorted({name for s in rates for name in s})

    def added(order):
        value, best, before = {}, fractions.Fraction(0), fractions.Fraction(0)
        for i, name in enumerate(order):
            seen = rates.get(frozenset(order[: i + 1]))
            best = max(best, rates.get(frozenset([name]), 0), seen or 0)
            worth = best if seen is None else seen
            value[name], before = worth - before, worth
        return [value[name] for name in players]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapley, "MAX_EXACT", 0)
        found = _values(mechanism, players)
    orders = [[o, o[::-1]][: 1 + both] for o in itertools.permutations(players)]
    means = [[sum(v) / len(some) for v in zip(*map(added, some), strict=True)] for some in orders]
    assert any(found == pytest.approx([float(m) for m in mean]) for mean in means)


def test_sampled_values_come_near_the_exact_ones():
    generator = np.random.default_rng(0)
    names = [f"t{i}" for i in range(6)]
    sets = [s for n in range(1, 7) for s in itertools.combinations(names, n)]
    mechanism = create("shapley", {"permutations": 4000})
    mechanism.load({"sets": [_row(s, int(generator.integers(101)), 100) for s in sets]})
    exact = _values(mechanism, names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapley, "MAX_EXACT", 5)
        assert _values(mechanism, names) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"permutations": 0}, "permutations must be a whole number of at least 1, not 0"),
        ({"permutations": 2.5}, "permutations must be a whole number of at least 1, not 2.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"fallback": "first"}, "fallback must be none, linear or last"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(MalTfError, match=message):
        create("shapley", parameters)
