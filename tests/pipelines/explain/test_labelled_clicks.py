"""Which labelled clicks are worth a look."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clicks import labelled
from pipelines.config.run import load
from pipelines.explain import labelled_clicks
from tests.support.labels import read_labels


@given(st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=6))
def test_difference_is_the_mean_over_pairs(rows):
    pairs = list(itertools.combinations(rows, 2))
    expected = [np.mean([abs(a[i] - b[i]) for a, b in pairs]) if pairs else 0 for i in range(3)]
    assert labelled_clicks.difference(np.array(rows)) == pytest.approx(expected, abs=1e-12)


def test_candidates_are_the_most_different_of_different_users_in_any_sharding(project):
    project.write()
    project.labels("two")
    names = ("first", "last", "linear", "mta")
    project.config["labels"]["shards"] = 5
    project.write()
    project.labels("five")
    config, found = load(str(project.folder / "config.yaml")), []
    for name in ("two", "five"):
        data = labelled.load(str(project.folder / name), config.feature_spec)
        found.append(labelled_clicks.candidates(data, names, (2, 4), 3))
    pd.testing.assert_frame_equal(*found)
    (best, _), labels = found, read_labels(project.folder / "two")
    assert best["path_length"].value_counts().max() <= 3
    assert set(best["path_length"]) <= {2, 3, 4}
    assert not best.duplicated(["path_length", "user_id"]).any()
    for click, difference in best[["click_id", "difference"]].itertuples(index=False):
        pairs = itertools.combinations([labels[int(click)][f"label_{name}"] for name in names], 2)
        assert difference == pytest.approx(np.mean([abs(a - b) for a, b in pairs]), abs=1e-6)
    of_two = best.loc[best["path_length"] == 2, "difference"]
    assert of_two.is_monotonic_decreasing and of_two.min() > 0
    data = labelled.load(str(project.folder / "two"), config.feature_spec)
    (one,) = labelled_clicks.find(data, best["click_id"][0])
    assert (one.user_id, one.record) == (best["user_id"][0], best["record"][0])
    for absent in ("no number", "999999", "9" * 19):
        assert labelled_clicks.find(data, absent) == []
    assert labelled_clicks.differing(one.record, best["record"][1])[0] == "click_id"
