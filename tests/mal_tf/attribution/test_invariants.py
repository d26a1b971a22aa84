"""What holds for every mechanism, whatever it computes (DESIGN §3)."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mal_tf.attribution.catalog import MECHANISMS, create
from tests.mal_tf.attribution.logs import by_hand, split

#: Not tested here, and why.
ELSEWHERE = {"attention"}  # its module comes with its own tests
#: Parameters besides the defaults, by mechanism.
PARAMETERS = {
    "position": [{"first": 0.0, "last": 0.0}, {"first": 0.1, "last": 0.9}],
    "time_decay": [{"half_life_hours": 1e-3}],
    "shapley": [{"permutations": 3}],
    "markov": [{"order": 2}],
}
CASES = [
    pytest.param(name, parameters, id="-".join([name, *(f"{key}={value}" for key, value in parameters.items())]))
    for name in MECHANISMS
    if name not in ELSEWHERE
    for parameters in [{}, *PARAMETERS.get(name, [])]
]
DATA_DRIVEN = [case for case in CASES if create(*case.values).data_driven]

every_mechanism = pytest.mark.parametrize(("name", "parameters"), CASES)
every_data_driven = pytest.mark.parametrize(("name", "parameters"), DATA_DRIVEN)
TYPES = "abcdefghijkl"
#: Journeys as lists of (type, age), some with all 12 types: more than Shapley does exactly.
PATH = st.lists(st.tuples(st.sampled_from(TYPES), st.floats(0, 1e4)), max_size=8)
ALL_TYPES = st.permutations(TYPES).map(lambda names: [(name, 1.0) for name in names])
JOURNEYS = st.lists(PATH | ALL_TYPES, min_size=1, max_size=6).map(lambda paths: _journeys(paths))
EXAMPLES = settings(max_examples=30)


def _journeys(paths):
    paths = [sorted(path, key=lambda touch: -touch[1]) for path in paths]
    made = by_hand([[name for name, _ in path] for path in paths], TYPES)
    return dataclasses.replace(made, age=np.array([age for path in paths for _, age in path], float))


def _renumbered(journeys, names):
    """The same journeys with types numbered by their place in `names`."""
    code = np.array([names.index(name) for name in journeys.touchpoints])
    return dataclasses.replace(journeys, touchpoint=code[journeys.touchpoint], touchpoints=np.array(names, object))


def _fitted(name, parameters, converting, other):
    mechanism = create(name, parameters)
    if mechanism.data_driven:
        mechanism.load(mechanism.fit(mechanism.merge([mechanism.statistics(converting, other)])))
    return mechanism


def _joined(parts):
    return np.concatenate([np.zeros(0), *parts])


@every_mechanism
@EXAMPLES
@given(converting=JOURNEYS, other=JOURNEYS, unseen=JOURNEYS)
def test_credits_are_not_negative_and_sum_to_one(name, parameters, converting, other, unseen):
    mechanism = _fitted(name, parameters, converting, other)
    for journeys in (converting, unseen):
        credit = mechanism.credit(journeys)
        assert credit.dtype == np.float64
        assert credit.shape == journeys.click.shape
        assert (credit >= 0).all()
        totals, filled = np.array([sum(c) for c in split(journeys, credit)]), journeys.lengths > 0
        assert not totals[~filled].any()
        assert np.isclose(totals[filled], 1, rtol=0, atol=1e-12).tolist() == [
            not mechanism.data_driven or total > 0 for total in totals[filled]
        ]


@every_data_driven
@pytest.mark.parametrize("fallback", ["linear", "last"])
@settings(EXAMPLES, max_examples=15)
@given(converting=JOURNEYS, other=JOURNEYS, unseen=JOURNEYS)
def test_with_a_fallback_credits_always_sum_to_one(name, parameters, fallback, converting, other, unseen):
    mechanism = _fitted(name, parameters | {"fallback": fallback}, converting, other)
    credit = mechanism.credit(unseen)
    assert (credit >= 0).all()
    assert [sum(c) for c in split(unseen, credit)] == pytest.approx((unseen.lengths > 0).astype(float).tolist())


@every_mechanism
@EXAMPLES
@given(converting=JOURNEYS, other=JOURNEYS, data=st.data())
def test_credits_do_not_depend_on_order_blocks_or_numbering(name, parameters, converting, other, data):
    mechanism = _fitted(name, parameters, converting, other)
    credit = mechanism.credit(converting)
    count = len(converting)
    order = np.array(data.draw(st.permutations(range(count))))
    expected = _joined([credit[converting.offsets[i] : converting.offsets[i + 1]] for i in order])
    assert np.array_equal(mechanism.credit(converting.take(order)), expected)
    cuts = sorted(data.draw(st.sets(st.integers(1, count))))
    blocks = np.split(np.arange(count), cuts)
    assert np.array_equal(_joined([mechanism.credit(converting.take(block)) for block in blocks]), credit)
    renumbered = _renumbered(converting, data.draw(st.permutations(["x", *TYPES, "y"])))
    assert np.array_equal(mechanism.credit(renumbered), credit)


@every_mechanism
def test_the_same_journey_has_the_same_bits_in_blocks_of_any_size(name, parameters):
    generator = np.random.default_rng(5)
    lengths = generator.integers(1, 13, size=100)
    paths = [[(TYPES[i], generator.exponential(50)) for i in generator.integers(12, size=n)] for n in lengths]
    journeys = _journeys(paths)
    mechanism = _fitted(name, parameters, journeys.take(np.arange(0, 100, 2)), journeys.take(np.arange(1, 100, 2)))
    whole = mechanism.credit(journeys)
    for size in (1, 7, 33):
        blocks = [journeys.take(np.arange(i, min(i + size, 100))) for i in range(0, 100, size)]
        assert np.array_equal(_joined([mechanism.credit(block) for block in blocks]), whole)


@every_data_driven
@EXAMPLES
@given(converting=JOURNEYS, other=JOURNEYS, data=st.data())
def test_fit_does_not_depend_on_how_the_data_is_split(name, parameters, converting, other, data):
    mechanism = create(name, parameters)
    whole = mechanism.fit(mechanism.merge([mechanism.statistics(converting, other)]))
    kept = [data.draw(st.lists(st.integers(0, 3), min_size=len(j), max_size=len(j))) for j in (converting, other)]
    parts = [mechanism.merge([])]
    for part in data.draw(st.permutations(range(4))):
        mine = [j.take(np.flatnonzero(np.array(k) == part)) for j, k in zip((converting, other), kept, strict=True)]
        names = data.draw(st.permutations(["x", *TYPES, "y"]))
        parts.append(mechanism.statistics(*(_renumbered(j, names) for j in mine)))
    assert mechanism.fit(mechanism.merge(parts)) == whole
    assert mechanism.fit(mechanism.merge([mechanism.merge(parts[:2]), mechanism.merge(parts[2:])])) == whole


@every_data_driven
@EXAMPLES
@given(converting=JOURNEYS, other=JOURNEYS, unseen=JOURNEYS)
def test_parameters_survive_json(name, parameters, converting, other, unseen):
    mechanism = create(name, parameters)
    fitted = mechanism.fit(mechanism.merge([mechanism.statistics(converting, other)]))
    mechanism.load(fitted)
    again = create(name, parameters)
    again.load(json.loads(json.dumps(fitted)))
    for journeys in (converting, unseen):
        assert np.array_equal(again.credit(journeys), mechanism.credit(journeys))
