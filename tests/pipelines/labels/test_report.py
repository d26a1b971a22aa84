"""What the label report notes: mechanisms that label almost the same clicks, a stray late event."""

import numpy as np
import pytest

from features.errors import BadInput
from pipelines.labels.plausibility import one_class
from pipelines.labels.report import check, late_events, same_labels


def report(classes, mechanisms=("first", "last", "linear", "mta")):
    return {"cat_bits": list(mechanisms), "splits": {"train": {"cat_classes": {str(c): n for c, n in classes.items()}}}}


def test_agreement_and_correlation_by_hand():
    # Bits: first 1, last 2, linear 4, mta 8. linear has 100 + 4 positives, mta the same 100.
    classes = {0: 896, 12: 60, 13: 20, 14: 20, 4: 4}
    (pair,) = same_labels(report(classes))
    assert (pair.one, pair.other, pair.agreement) == ("linear", "mta", pytest.approx(100 / 104))
    linear = np.repeat([0, 1, 1], [896, 100, 4])
    mta = np.repeat([0, 1, 0], [896, 100, 4])
    assert pair.correlation == pytest.approx(np.corrcoef(linear, mta)[0, 1])
    assert str(pair).startswith(
        "linear and mta label almost the same clicks: 96.2% of those that either labels positive"
    )


def test_views_that_differ_and_mechanisms_without_a_positive_are_not_named():
    assert same_labels(report({0: 900, 12: 60, 13: 20, 14: 20, 4: 10})) == []
    assert same_labels(report({0: 1000})) == []
    assert same_labels(report({}, ("last",))) == []


def test_mechanisms_that_credit_all_clicks_alike():
    (pair,) = same_labels(report({3: 10}, ("last", "own")))
    assert (pair.agreement, pair.correlation) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("clicks", "conversions", "warned"),
    [
        (
            {"2024-03-01": 90, "2024-03-02": 110},
            {"2024-03-09": 1},
            "2024-03-09, has far fewer events (1) than the others (median 100)",
        ),
        ({"2024-03-01": 90, "2024-03-02": 4}, {"2024-03-01": 10}, "2024-03-02, has far fewer events (4)"),
        ({"2024-03-01": 90, "2024-03-02": 4}, {"2024-03-01": 10, "2024-03-02": 1}, ""),
        ({"2024-03-01": 3}, {"2024-03-05": 1}, ""),
        ({"2024-03-01": 3}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_a_last_day_with_far_fewer_events(clicks, conversions, warned):
    found = late_events({"days": {"clicks": clicks, "conversions": conversions}})
    assert warned in found
    assert bool(found) == bool(warned)


def test_splits_of_one_class_are_warned_of():
    counts = {
        "clicks": 9,
        "mechanisms": {"last": {"positives": 0}, "linear": {"positives": 9}, "mta": {"positives": 1}},
    }
    none, every = one_class({"train": counts})
    assert none.startswith("train split: no click of 9 is positive under last: a model learns nothing from it.")
    assert every.startswith("train split: every click of 9 is positive under linear")
    (later, _) = one_class({"eval": counts})
    assert "AUC and GAUC will have no value" in later
    assert (
        one_class({"train": counts | {"mechanisms": {"mta": {"positives": 1}}}, "eval": counts | {"clicks": 0}}) == []
    )


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ((), "The log has no clicks with a usable time."),
        ((1, 2, 3), "The log has clicks from 2024-03-01 to 2024-03-03."),
        ((1, 3, 4, 8), "clicks from 2024-03-01 to 2024-03-08, but none on 2024-03-02, 2024-03-05 to 2024-03-07."),
        (range(1, 30, 2), "2024-03-08, 2024-03-10 and 9 more times."),
    ],
)
def test_an_empty_split_is_an_error_that_tells_the_days_without_clicks(days, told):
    rows = {"read": 1, "filtered": 0, "dead_letters": 0, "kept": 1}
    found = {
        "clicks": {**rows, "kept": 1, "immature_dropped": 0},
        "missing_cells": {"clicks": {}},
        "splits": {"train": {"clicks": 1}, "eval": {"clicks": 0}},
        "days": {"clicks": {f"2024-03-{day:02}": 1 for day in days}},
    }
    with pytest.raises(
        BadInput, match="^the eval split has no clicks: check eval_from, .* without_days of `labels`, .* immature: 0"
    ) as raised:
        check(found, 0.01, "out", ["clicks"])
    assert str(raised.value).endswith(told)
