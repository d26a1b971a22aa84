import collections
import fractions
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import MalTfError
from mal_tf.attribution.catalog import create
from tests.mal_tf.attribution.logs import PATHS, by_hand, split


def _fit(converting, other, **parameters):
    mechanism = create("markov", parameters)
    return mechanism.fit(mechanism.merge([mechanism.statistics(by_hand(converting), by_hand(other))]))


def _transitions(converting, other, order):
    """Counts by state, a tuple of the last types without repeats, "conversion" or "null"."""
    counts = collections.defaultdict(collections.Counter)
    for paths, end in ((converting, "conversion"), (other, "null")):
        for path in filter(None, paths):
            types = [name for name, _ in itertools.groupby(path)]
            states = [tuple(types[max(i - order, 0) : i]) for i in range(len(types) + 1)]
            for before, after in itertools.pairwise([*states, end]):
                counts[before][after] += 1
    return counts


def _conversion(counts, removed=None):
    """P(conversion) from the start by Gauss elimination of x = Q x + r in fractions."""
    states = list(counts)
    matrix = []
    for before in states:
        total = sum(counts[before].values())
        row = [fractions.Fraction(int(before == state)) for state in states] + [fractions.Fraction(0)]
        for after, n in counts[before].items():
            if after == "conversion":
                row[-1] += fractions.Fraction(n, total)
            elif after != "null" and after[-1] != removed:
                row[states.index(after)] -= fractions.Fraction(n, total)
        matrix.append(row)
    for i in range(len(matrix)):
        pivot = next(k for k in range(i, len(matrix)) if matrix[k][i])
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        matrix[i] = [v / matrix[i][i] for v in matrix[i]]
        for k in range(len(matrix)):
            if k != i and matrix[k][i]:
                matrix[k] = [a - matrix[k][i] * b for a, b in zip(matrix[k], matrix[i], strict=True)]
    return matrix[states.index(())][-1] if states else fractions.Fraction(0)


@pytest.mark.parametrize("order", [1, 2, 3])
@given(converting=PATHS, other=PATHS)
def test_matches_the_oracle(order, converting, other):
    found, counts = _fit(converting, other, order=order), _transitions(converting, other, order)
    assert len(found["transitions"]) == sum(map(len, counts.values()))
    for row in found["transitions"]:
        after = row["to"] if isinstance(row["to"], str) else tuple(row["to"])
        assert counts[tuple(row["from"])][after] == row["count"]
    rate = _conversion(counts)
    assert found["conversion_rate"] == pytest.approx(float(rate))
    names = {name for path in converting + other for name in path}
    assert set(found["removal_effect"]) == names
    for name in names:
        expected = 1 - _conversion(counts, name) / rate if rate else 0
        assert found["removal_effect"][name] == pytest.approx(float(expected))
        assert (found["removal_effect"][name] > 0) == (expected > 0)


def test_hand_worked():
    # From the start always to a; from a half to b, half to conversion; from b half to conversion, half to null.
    paths = [["a"], ["a", "a"], ["a", "b", "b"]], [["a", "b"]]
    found = _fit(*paths)
    assert found["conversion_rate"] == pytest.approx(3 / 4)
    assert found["removal_effect"] == pytest.approx({"a": 1, "b": 1 / 3})
    mechanism = create("markov", {})
    mechanism.load(json.loads(json.dumps(found)))
    journeys = by_hand([["a", "b"], ["b", "a", "b"], ["q"], ["q", "b"], []])
    credits = split(journeys, mechanism.credit(journeys))
    assert credits[0] == pytest.approx([3 / 4, 1 / 4])
    assert credits[1] == pytest.approx([1 / 8, 3 / 4, 1 / 8])
    assert credits[2:] == [[0.0], [0.0, 1.0], []]


def test_order_two_tells_apart_what_order_one_mixes_up():
    # b after a always converts, b after c never: without c the same conversions are left.
    paths = [["a", "b"]] * 3, [["c", "b"]] * 3
    assert _fit(*paths)["removal_effect"] == pytest.approx({"a": 1 / 2, "b": 1, "c": 1 / 2})
    assert _fit(*paths, order=2)["removal_effect"] == pytest.approx({"a": 1, "b": 1, "c": 0})


@pytest.mark.parametrize("paths", [([], []), ([[]], [[]]), ([], [["a", "b"], ["a"]])])
def test_nothing_ever_converts(paths):
    found = _fit(*paths)
    assert found["conversion_rate"] == 0
    assert not any(found["removal_effect"].values())
    mechanism = create("markov", {})
    mechanism.load(found)
    assert mechanism.credit(by_hand([["a", "b"], []])).tolist() == [0.0, 0.0]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 14))
def test_windows_too_long_for_one_integer_are_counted_alike(codes, order):
    # 32^15 is above 2^63: codes are compacted on the way.
    path = [f"t{code:02}" for code in codes]
    mechanism = create("markov", {"order": order})
    counts = _transitions([path], [path[::-1]], order)
    found = mechanism.statistics(by_hand([path]), by_hand([path[::-1]]))
    assert found == {(before, after): n for before, row in counts.items() for after, n in row.items()}


def test_too_many_states():
    paths = [[f"t{i:04}"] for i in range(4001)]
    with pytest.raises(
        MalTfError, match="a Markov chain of order 1 has 4,001 states, at most 4,000.*min_count.*max_types"
    ):
        _fit(paths, [])


def test_long_chain_is_solved():
    path = [f"t{i:03}" for i in range(300)]
    found = _fit([path], [path[:i] for i in range(1, 300)])
    assert found["conversion_rate"] == pytest.approx(1 / 300)
    assert np.allclose(list(found["removal_effect"].values()), 1)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (0, "order must be a whole number of at least 1, not 0"),
        (1.5, "order must be a whole number of at least 1, not 1.5"),
        ("2", "parameter order: expected a number, found '2'"),
    ],
)
def test_bad_order(order, message):
    with pytest.raises(MalTfError, match=message):
        create("markov", {"order": order})
