import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.spec import CategoricalFeature, FeatureSpec, NumericFeature, VocabularyConfig
from features.vocabulary import bin_numbers, count, cut, merge, read, vocabularies, write

NAME = CategoricalFeature(type="categorical", name="name")
NUMBER = NumericFeature(type="numeric", name="number", buckets=4)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def _cut(tokens, feature=NAME, **config):
    return cut(feature, count(feature, pa.array(tokens)), VocabularyConfig(**config))


def test_most_frequent_first_ties_by_token():
    assert _cut(["b", "c", "a", "c", None, "b", "é", "Z"]) == ["b", "c", "Z", "a", "é"]


def test_min_count_and_max_size_and_their_overrides():
    tokens = ["a"] * 3 + ["b"] * 2 + ["c"]
    assert _cut(tokens, min_count=2) == ["a", "b"]
    assert _cut(tokens, max_size=1) == ["a"]
    own = CategoricalFeature(type="categorical", name="name", min_count=1, max_size=2)
    assert _cut(tokens, own, min_count=3, max_size=1) == ["a", "b"]


def test_tokens_with_line_breaks_stay_out():
    lines = _cut(["a\nb", "c\rd", "e f", "e f", "g"])
    assert lines == ["e f", "g"]
    assert read(write(lines)) == lines


def test_integer_tokens_tie_by_value():
    feature = CategoricalFeature(type="categorical", name="name", dtype="int64")
    assert _cut([10, 9, -1, 10], feature) == ["10", "-1", "9"]


def _grown(previous, tokens, feature=NAME, **config):
    return cut(feature, count(feature, pa.array(tokens)), VocabularyConfig(**config), previous)


def test_a_grown_vocabulary_keeps_its_rows_and_appends_what_is_new():
    previous = ["z", "a"]
    assert _grown(previous, ["b", "c", "c", "a"]) == ["z", "a", "c", "b"]
    assert _grown(previous, ["b", "c", "c", "a"], min_count=2) == ["z", "a", "c"]
    assert _grown(previous, ["b", "c", "c", "a"], max_size=3) == ["z", "a", "c"]
    assert _grown(previous, ["b"], max_size=1) == ["z", "a"]
    assert _grown([], ["b"]) == ["b"]


def test_a_grown_vocabulary_of_integers_and_of_numbers():
    feature = CategoricalFeature(type="categorical", name="name", dtype="int64")
    assert _grown(["7", "-1"], [9, 7, 10, 9], feature) == ["7", "-1", "9", "10"]
    assert _grown(["1.0", "2.5"], [100.0, 200.0, 300.0], NUMBER) == ["1.0", "2.5"]


@given(st.lists(FINITE, min_size=2, max_size=20))
def test_bins_are_ordered_as_the_values(values):
    bins = bin_numbers(np.sort(np.array(values)))
    assert (np.diff(bins) >= 0).all()


@given(st.floats(1e-30, 1e30))
def test_bins_are_mirrored_and_an_eighth_octave_wide(value):
    bins = bin_numbers(np.array([value, -value, 2 * value, 1.2 * value, 0.0]))
    assert bins[1] == -bins[0]
    assert bins[2] - bins[0] == 8
    assert bins[3] > bins[0]
    assert bins[4] == 0


@given(st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=40))
def test_boundaries_ascend_within_the_values(values):
    boundaries = np.array([float(line) for line in _cut(np.array(values), NUMBER)])
    assert boundaries.size < NUMBER.buckets
    assert (np.diff(boundaries) > 0).all()
    if boundaries.size:
        # An edge lies within an eighth of an octave below the value whose bin it opens.
        top = max(values)
        assert boundaries[-1] <= top + 1e-6 * abs(top)
        bottom = min(values)
        assert boundaries[0] >= bottom - 0.2 * abs(bottom)


def test_buckets_have_about_equal_mass():
    values = np.random.default_rng(0).lognormal(0, 3, 40_000) * np.tile([1, -1], 20_000)
    boundaries = [float(line) for line in _cut(values, NUMBER)]
    mass = np.bincount(np.searchsorted(boundaries, values, side="right")) / values.size
    assert mass == pytest.approx(np.full(4, 0.25), abs=0.03)


def test_hand_worked_boundaries():
    assert _cut([1.0, 2.0, 4.0, 8.0], NUMBER) == ["2.0", "4.0"]
    assert _cut([3.0, 3.0], NUMBER) == []
    assert _cut(np.array([np.nan, np.inf]), NUMBER) == []


@pytest.mark.parametrize("feature", [NAME, NUMBER])
def test_merge_order_does_not_matter(feature):
    generator = np.random.default_rng(1)
    numbers = generator.integers(-9, 9, (5, 30)).astype(float)
    parts = [count(feature, pa.array(n if feature is NUMBER else n.astype(str))) for n in numbers]
    whole = count(feature, pa.array(numbers.ravel() if feature is NUMBER else numbers.ravel().astype(str)))
    expected = cut(feature, whole, VocabularyConfig())
    assert len(expected) > 1
    for order in (range(5), [4, 2, 0, 1, 3]):
        assert cut(feature, merge([parts[i] for i in order]), VocabularyConfig()) == expected
    assert cut(feature, merge([merge(parts[:2]), merge(parts[2:])]), VocabularyConfig()) == expected
    assert cut(feature, merge([merge(parts[:2]), *parts[2:]]), VocabularyConfig()) == expected


def test_missing_values_are_no_tokens_however_they_are_given():
    spec = FeatureSpec(features=(NAME, NUMBER))
    clicks = pa.table({"name": ["", "a", None], "number": pa.array([1.0, None, float("nan")], pa.float32())})
    assert vocabularies(spec, clicks) == {"name": ["a"], "number": []}


@pytest.mark.parametrize("lines", [[], ["top"], ["top", "side"], ["", "top"], ["top", ""]])
def test_the_last_word_of_a_file_needs_no_line_end(lines):
    text = write(lines)
    assert read(text) == lines
    if lines and lines[-1]:
        assert read(text.removesuffix("\n")) == lines
