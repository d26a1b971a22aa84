import fractions
import itertools
import random

import pytest
from hypothesis import given

from features.errors import MalTfError
from mal_tf.attribution.catalog import create
from tests.mal_tf.attribution.logs import PATHS, by_hand, credits_of, fitted

CONVERTING, OTHER = [["a"], ["a", "b"]], [["a"], ["b"]]


def _oracle(converting, other, path):
    def p(*types):
        """Share converted of the journeys with all these types; None where there is none."""
        plus, minus = (sum(set(types) <= set(q) for q in paths) for paths in (converting, other))
        return fractions.Fraction(plus, plus + minus) if plus + minus else None

    kinds = sorted(set(path))
    contribution = {}
    for i in kinds:
        synergy = fractions.Fraction(0)
        for j in kinds:
            if j != i and p(i, j) is not None:
                synergy += p(i, j) - p(i) - p(j)
        mutual = synergy / (2 * (len(kinds) - 1)) if len(kinds) > 1 else 0
        contribution[i] = max((p(i) or 0) + mutual, 0)
    total = sum(contribution.values())
    return [contribution[t] / path.count(t) / total if total else 0 for t in path]


def test_hand_worked():
    # p(a) = 2/3, p(b) = 1/2, p(a,b) = 1: C(a) = 2/3 − 1/12 = 7/12, C(b) = 1/2 − 1/12 = 5/12.
    credits = credits_of(fitted("shao_li", CONVERTING, OTHER), [["a", "b"], ["a", "b", "a"], ["b"], []])
    assert credits[0] == pytest.approx([7 / 12, 5 / 12])
    assert credits[1] == pytest.approx([7 / 24, 5 / 12, 7 / 24])
    assert credits[2:] == [[1.0], []]


@given(PATHS, PATHS, PATHS)
def test_matches_the_oracle_and_sums_to_one_or_zero(converting, other, more):
    mechanism = fitted("shao_li", converting, other)
    for path, credits in zip(converting + more, credits_of(mechanism, converting + more), strict=True):
        assert min(credits, default=0) >= 0
        total = sum(credits)
        assert total == pytest.approx(1) or total == 0
        if {t for q in converting + other for t in q} >= set(path):
            expected = _oracle(converting, other, path)
            assert credits == pytest.approx([float(e) for e in expected])
            # What is 0 is exactly 0, not a rounding error that would make a positive label.
            assert [c > 0 for c in credits] == [e > 0 for e in expected]


def test_negative_contributions_become_zero():
    # p(a) = 0.1, p(b) = 1, p(a,b) = 1/2: C(a) = 0.05 + (0.5 − 1) / 2 < 0.
    converting = [["b"]] * 999 + [["a", "b"]]
    other = [["a", "b"]] + [["a"]] * 8
    assert credits_of(fitted("shao_li", converting, other), [["a", "b"]]) == [[0.0, 1.0]]


def test_merge_in_any_order_and_split():
    paths = [list(p) for n in (1, 2, 3) for p in itertools.product("abc", repeat=n)]
    random.Random(0).shuffle(paths)
    mechanism = create("shao_li", {})
    whole = mechanism.fit(mechanism.merge([mechanism.statistics(by_hand(paths[:20]), by_hand(paths[20:]))]))
    parts = [mechanism.statistics(by_hand(paths[:5]), by_hand(paths[30:]))]
    # Another part may number its types otherwise, and know more of them.
    parts += [mechanism.statistics(by_hand(paths[5:20], "dcba"), by_hand(paths[20:30], "bca"))]
    for order in (parts, parts[::-1], [mechanism.merge([]), *parts]):
        assert mechanism.fit(mechanism.merge(order)) == whole
    assert len(whole["counts"]) == 6


@pytest.mark.parametrize(("fallback", "expected"), [("none", [0, 0, 0]), ("linear", [1 / 3] * 3), ("last", [0, 0, 1])])
def test_fallback_for_types_the_fit_never_saw(fallback, expected):
    credits = credits_of(fitted("shao_li", CONVERTING, OTHER, fallback=fallback), [["q", "r", "q"], ["a"], []])
    assert credits[0] == pytest.approx(expected)
    assert credits[1:] == [[1.0], []]


def test_unknown_fallback():
    with pytest.raises(MalTfError, match="fallback must be none, linear or last"):
        create("shao_li", {"fallback": "first"})


def test_every_unseen_type_counts_among_the_types_of_the_journey():
    # n = 4: C(a) = 2/3 − 1/36, C(b) = 1/2 − 1/36, the unseen ones 0.
    (credits,) = credits_of(fitted("shao_li", CONVERTING, OTHER), [["a", "b", "q", "r"]])
    synergy = -1 / 6 / (2 * 3)
    total = 2 / 3 + 1 / 2 + 2 * synergy
    assert credits == pytest.approx([(2 / 3 + synergy) / total, (1 / 2 + synergy) / total, 0, 0])
