"""Two mechanisms that label almost the same clicks are named."""

import numpy as np
import pytest

from pipelines.labels.report import same_labels


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
