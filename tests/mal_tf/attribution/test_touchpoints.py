import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.attribution.touchpoints import RARE, TouchpointConfig, Touchpoints, fold

NAMES = np.array(["app", "mail", "web"], object)


def derive(paths, ages, **parts):
    """Names of the types of journeys given as codes, and ages in hours."""
    offsets = np.cumsum([0, *map(len, paths)])
    codes = np.array([c for p in paths for c in p], np.int64)
    found, names = Touchpoints(NAMES, **parts).derive(codes, offsets, np.array(ages, float))
    assert len(set(names)) == len(names)
    return names[found].tolist()


def test_without_derived_parts_the_type_is_the_column():
    assert derive([[0, 2]], [3, 0]) == ["app", "web"]


def test_recency_and_position_hand_worked():
    paths, ages = [[0, 1, 2], [], [0], [1, 1]], [24, 23.9, 0, 1, 0.5, 0]
    assert derive(paths, ages, recency_hours=(1, 24)) == [
        "app|>=24h",
        "mail|1-24h",
        "web|<1h",
        "app|1-24h",
        "mail|<1h",
        "mail|<1h",
    ]
    assert derive(paths, ages, position=True) == [
        "app|first",
        "mail|middle",
        "web|last",
        "app|only",
        "mail|first",
        "mail|last",
    ]
    assert derive([[2, 1]], [30, 2], recency_hours=(24,), position=True) == ["web|>=24h|first", "mail|<24h|last"]


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.sets(st.sampled_from("abcd")))
def test_fold_keeps_the_kept_and_merges_the_rest(types, kept):
    names, codes = np.unique(np.array(types, object), return_inverse=True)
    folded, found = fold(names, codes, sorted(kept))
    assert folded[found].tolist() == [t if t in kept else RARE for t in types]
    assert len(set(folded)) == len(folded)


def test_fold_into_a_type_that_is_called_rare_already():
    names, codes = fold(np.array([RARE, "a", "b"], object), np.array([0, 1, 2]), ["a"])
    assert names[codes].tolist() == [RARE, "a", RARE]


@pytest.mark.parametrize("hours", [(24, 1), (1, 1), (0, 1), (-1,)])
def test_boundaries_must_ascend_and_be_positive(hours):
    with pytest.raises(pydantic.ValidationError, match="ascending positive hours"):
        TouchpointConfig(recency_hours=hours)
