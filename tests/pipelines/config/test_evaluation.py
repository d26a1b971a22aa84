import pydantic
import pytest

from features.spec import FeatureSpec
from pipelines.config.evaluation import EvaluationConfig, slice_features

SPEC = FeatureSpec(
    features=[
        {"type": "categorical", "name": "place"},
        {"type": "categorical", "name": "item", "hash_lookups": 2},
        {"type": "numeric", "name": "price"},
        {"type": "history", "name": "clicked", "of": "place"},
    ],
    vocabulary={"hash_buckets": 8},
)


def test_by_default_what_the_labels_allow():
    config = EvaluationConfig()
    every = ("path_length", "information_gain", "click_age", "user_history")
    assert config.resolve_slices(SPEC, ("last", "linear"), timed=True) == every
    assert config.resolve_slices(SPEC, ("first", "last"), timed=True) == ("path_length", "click_age", "user_history")
    assert config.resolve_slices(SPEC, ("last", "linear"), timed=False) == ("information_gain", "user_history")


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("colour", "'colour' is not a slice; available: path_length, .*, place, item, price, known_place"),
        ("known_item", "'known_item' is not a slice"),  # Hashed: there is no vocabulary.
        ("known_price", "'known_price' is not a slice"),
        ("clicked", "'clicked' is not a slice"),
        ("information_gain", "'information_gain' needs evaluation.growth's mechanism 'linear'; available: last"),
        ("click_age", "'click_age' needs clicks with timestamps and paths"),
    ],
)
def test_what_is_asked_for_and_can_not_be_had_is_an_error(by, message):
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(slices=by).resolve_slices(SPEC, ("last",), timed=False)


def test_slices_are_given_once_and_bounds_ascend():
    with pytest.raises(pydantic.ValidationError, match="given twice: place"):
        EvaluationConfig(slices=["place", "price", "place"])
    with pytest.raises(pydantic.ValidationError, match="expected ascending bounds"):
        EvaluationConfig(age_days=(2, 1))


def test_the_features_of_slices():
    assert list(slice_features(("known_place", "click_age", "price", "place"), SPEC)) == ["place", "price"]
