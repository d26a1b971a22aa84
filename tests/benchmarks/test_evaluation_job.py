import pytest

from benchmarks.evaluation_job import farthest, numbers
from features.errors import MalTfError


def result(drawn, auc=0.7):
    """A number of each kind: a metric, its interval, a difference and a curve."""
    return {
        "models": {"mal": {"auc": auc, "gauc": None}},
        "intervals": {"mal": {"auc": {"low": drawn, "high": drawn}}},
        "differences": {"base": {"auc": {"difference": 0.1, "p": drawn}}},
        "calibration": {"mal": [{"clicks": 4, "low": 0.1, "high": 0.3}]},
    }


def test_every_number_has_a_place():
    assert [place for place, _ in numbers(result(0.5))] == [
        "/models/mal/auc",
        "/intervals/mal/auc/low",
        "/intervals/mal/auc/high",
        "/differences/base/auc/difference",
        "/differences/base/auc/p",
        "/calibration/mal/0/clicks",
        "/calibration/mal/0/low",
        "/calibration/mal/0/high",
    ]


def test_the_farthest_number_is_named_and_a_missing_one_is_an_error():
    assert (
        farthest(result(0.5), result(0.5, 0.77)) == "8 numbers, relative difference at most 1.0e-01, at /models/mal/auc"
    )
    with pytest.raises(MalTfError, match="different numbers: .*/models/mal/auc"):
        farthest(result(0.5), result(0.5, None))
