"""Counts of labels add up, to any subset of the mechanisms, and survive a manifest."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.attribution.label_counts import LabelCounts, total
from mal_tf.attribution.labels import cat_label

NAMES = ("first", "last", "linear")
CREDITS = st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 1 / 3, 1.0])] * 3), max_size=30)


def labels(rows) -> dict[str, np.ndarray]:
    return dict(zip(NAMES, np.array(rows, np.float32).reshape(-1, 3).T, strict=True))


def test_counts_by_hand():
    found = LabelCounts.count(labels([(1, 0, 0.5), (0, 1, 0.5), (0, 0, 0), (1, 1, 1)]))
    assert found == LabelCounts(
        4, {"first": 2, "last": 2, "linear": 3}, {"first": 2.0, "last": 2.0, "linear": 2.0}, {0: 1, 5: 1, 6: 1, 7: 1}
    )
    assert found.cat_classes_for(["linear", "first"]) == {0: 1, 1: 1, 3: 2}


@given(rows=CREDITS, cut=st.integers(0, 30), targets=st.permutations(NAMES).map(lambda names: names[:2]))
def test_parts_add_up_to_the_whole_in_any_order_and_by_way_of_json(rows, cut, targets):
    whole, parts = (
        LabelCounts.count(labels(rows)),
        [LabelCounts.count(labels(part)) for part in (rows[cut:], rows[:cut])],
    )
    assert total(parts) == total(parts[::-1]) == whole
    assert LabelCounts.from_json(json.loads(json.dumps(whole.to_json()))) == whole
    classes = cat_label({name: labels(rows)[name] for name in targets})
    assert whole.cat_classes_for(targets) == {int(c): int((classes == c).sum()) for c in np.unique(classes)}


def test_counts_of_other_mechanisms_do_not_add_up():
    with pytest.raises(ValueError, match="expected counts of the same mechanisms, found first, last, linear and last"):
        _ = LabelCounts.count(labels([])) + LabelCounts.count({"last": np.zeros(1)})
    assert total([]) is None
