import dataclasses
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from features.errors import MalTfError
from mal_tf.attribution.attention_sample import FIRST_KNOWN, Moments
from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import Journeys
from tests.mal_tf.attribution import simulation
from tests.mal_tf.attribution.logs import by_hand
from tests.mal_tf.attribution.simulation import simulate

CREDITS = ("leave_one_out", "attention")
QUICK = {"epochs": 1, "units": 4, "max_touches": 5}


@pytest.fixture(scope="module")
def market():
    return simulate(20_000, seed=1)


@pytest.fixture(scope="module")
def parameters(market):
    return _fit(create("attention", {}), market)


@pytest.fixture(scope="module")
def small():
    return simulate(1_500, seed=2)


@pytest.fixture(scope="module")
def quick(small):
    return _fit(create("attention", QUICK), small)


def _fit(mechanism, market):
    return mechanism.fit(mechanism.merge([mechanism.statistics(market.converting, market.other)]))


def _loaded(parameters, **arguments):
    mechanism = create("attention", arguments)
    mechanism.load(json.loads(json.dumps(parameters)))
    return mechanism


def _error(credit, market):
    """Mean absolute error per touch."""
    return np.abs(credit - market.truth).mean()


def _share(credit, market, name):
    """What a type gets of all credit."""
    return credit[market.converting.touchpoints[market.converting.touchpoint] == name].sum() / credit.sum()


def test_recovers_the_planted_effect_better_than_the_others(market, parameters):
    others = {}
    for name in ("linear", "last", "shao_li"):
        mechanism = create(name, {})
        if mechanism.data_driven:
            mechanism.load(_fit(mechanism, market))
        others[name] = _error(mechanism.credit(market.converting), market)
    for credit in CREDITS:
        # 0.07 of either against 0.19 of last, 0.23 of Shao–Li and 0.27 of linear.
        assert _error(_loaded(parameters, credit=credit).credit(market.converting), market) < min(others.values()) / 2
    assert parameters["training"]["held_out_auc"] > 0.75
    assert parameters["training"]["held_out_loss"][-1] < 0.6


def test_knowing_the_confounder_takes_credit_from_the_useless_type(market, parameters):
    blind = simulate(20_000, seed=1, confounder=False)
    np.testing.assert_array_equal(blind.truth, market.truth)
    without = _share(_loaded(_fit(create("attention", {}), blind)).credit(blind.converting), market, "retargeting")
    balanced = _share(_loaded(parameters).credit(market.converting), market, "retargeting")
    linear = _share(create("linear", {}).credit(market.converting), market, "retargeting")
    # 0.04, 0.09 and 0.12; the truth is 0.
    assert balanced < 0.6 * without
    assert without < linear


def test_journeys_do_not_give_their_outcome_away(monkeypatch):
    # Nobody's touches do anything: no model can tell conversions from other moments.
    monkeypatch.setattr(simulation, "EFFECT", np.zeros(5))
    monkeypatch.setattr(simulation, "BASE", np.array([0.0003, 0.0003]))
    measured = _fit(create("attention", {"epochs": 2}), simulate(20_000, seed=3))["training"]
    assert measured["held_out_auc"] == pytest.approx(0.5, abs=0.05)


def test_moments_stand_for_all_time_under_observation(market):
    mechanism = create("attention", {"max_touches": 10**4})
    sample = mechanism.statistics(market.converting, market.other)
    moments = Moments(sample, sample.types(1), 50, 64)
    even = np.zeros(moments.journeys.age.size)
    rows, label, weight = moments.draw(np.arange(len(moments.journeys)), even, np.random.default_rng(0))
    assert weight[label].sum() == pytest.approx(label.size / 2)
    assert weight[~label].sum() == pytest.approx(label.size / 2)
    latest = (
        sample.horizon * np.take_along_axis(rows.age, (rows.types > 0).sum(axis=1, keepdims=True) - 1, axis=1)[:, 0]
    )
    # A moment chosen evenly from gaps g is on average Σ g² / 2 Σ g after the touch before it.
    age, ends = moments.journeys.age, moments.journeys.offsets[1:] - 1
    gap = age - np.append(age[1:], 0)
    gap[ends] = np.where(moments.converted, age[ends], sample.horizon)
    expected = (gap**2).sum() / (2 * gap.sum())
    assert np.average(latest[~label], weights=weight[~label]) == pytest.approx(expected, rel=0.02)
    assert rows.age.max() <= 1


def test_propensities_are_those_of_the_groups(market):
    from mal_tf.attribution import attention_network

    mechanism = create("attention", {})
    sample = mechanism.statistics(market.converting, market.other)
    moments = Moments(sample, sample.types(1), 20, 64)
    found = attention_network.log_ratios(moments, FIRST_KNOWN + 5, 64, 1024, seed=0)
    kind = moments.journeys.touchpoint - FIRST_KNOWN
    group = moments.journeys.confounders[moments.journeys.owner, 0]
    counts = np.zeros((2, 5))
    np.add.at(counts, (group.astype(int), kind), 1)
    given, marginal = counts / counts.sum(axis=1, keepdims=True), counts.sum(axis=0) / counts.sum()
    np.testing.assert_allclose(found, np.log(marginal[kind] / given[group.astype(int), kind]), atol=0.1)


def test_credits_are_shares_whatever_the_block(small, quick):
    journeys = small.converting
    for credit in CREDITS:
        mechanism = _loaded(quick, credit=credit)
        whole = mechanism.credit(journeys)
        assert whole.min() >= 0
        total = np.bincount(journeys.owner, whole, len(journeys))
        assert np.all((np.abs(total - 1) < 1e-9) | (total == 0))
        assert 0 < (total > 0).mean() < 1
        older = np.arange(whole.size) < (journeys.offsets[1:] - QUICK["max_touches"])[journeys.owner]
        assert older.any()
        assert not whole[older].any()
        # Another block, another order.
        order = np.random.default_rng(0).permutation(len(journeys))[:100]
        expected = np.concatenate([whole[journeys.offsets[j] : journeys.offsets[j + 1]] for j in order])
        np.testing.assert_allclose(mechanism.credit(journeys.take(order)), expected, rtol=0, atol=1e-12)
        alone = mechanism.credit(journeys.take(order[:1]))
        np.testing.assert_allclose(alone, expected[: alone.size], rtol=0, atol=1e-12)


def test_same_parameters_again_and_after_json(small, quick):
    assert _fit(create("attention", QUICK), small) == quick
    assert json.loads(json.dumps(quick)) == quick
    assert _fit(create("attention", QUICK | {"seed": 3}), small)["weights"] != quick["weights"]


def test_pickles_before_and_after_load(small, quick):
    mechanism = pickle.loads(pickle.dumps(create("attention", QUICK)))
    mechanism.load(quick)
    fresh = pickle.loads(pickle.dumps(mechanism)).credit(small.converting)
    np.testing.assert_array_equal(mechanism.credit(small.converting), fresh)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(mechanism)).credit(small.converting), fresh)


def _renumbered(journeys):
    """The same journeys with type names in another order, one of them unused."""
    names = np.append(journeys.touchpoints[::-1], "unused")
    return dataclasses.replace(
        journeys, touchpoints=names, touchpoint=journeys.touchpoints.size - 1 - journeys.touchpoint
    )


def _same(one, another):
    assert (one.totals, one.horizon) == (another.totals, another.horizon)
    for a, b in ((one.converting, another.converting), (one.other, another.other)):
        for field in dataclasses.fields(Journeys):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


@pytest.mark.parametrize("sample", [50, 700, 100_000])
@pytest.mark.parametrize("seed", range(3))
def test_samples_merge_exactly(small, sample, seed):
    random = np.random.default_rng(seed)
    mechanism = create("attention", {"sample": sample, "max_touches": 2})
    # Few distinct keys, so that content has to decide; empty journeys must not count.
    classes = [dataclasses.replace(j, key=j.key % np.uint64(97)) for j in (small.converting, small.other)]
    nothing = by_hand([[]] * 3)
    nothing = dataclasses.replace(nothing, confounders=np.zeros((3, 1), np.uint64))
    parts = [mechanism.statistics(nothing, nothing), mechanism.merge([])]
    pieces = [np.array_split(random.permutation(len(journeys)), 7) for journeys in classes]
    for converting, other in zip(*pieces, strict=True):
        part = [classes[0].take(converting), classes[1].take(other)]
        if random.random() < 0.5:
            part = [_renumbered(journeys) for journeys in part]
        parts.append(pickle.loads(pickle.dumps(mechanism.statistics(*part))))
    whole = mechanism.merge([mechanism.statistics(*classes)])
    assert whole.totals == (len(small.converting), len(small.other))
    assert len(whole.other) == min(sample // 2, whole.totals[1])
    random.shuffle(parts)
    _same(mechanism.merge(parts), whole)
    _same(mechanism.merge([mechanism.merge(parts[:4]), mechanism.merge(parts[4:])]), whole)
    assert whole.converting.lengths.max() == 4


def test_unknown_types_get_what_hidden_ones_taught(small, quick):
    renamed = dataclasses.replace(small.converting, touchpoints=np.array(list("vwxyz"), object))
    credit = _loaded(quick).credit(renamed)
    assert np.isfinite(credit).all()
    rare = _fit(create("attention", QUICK | {"min_count": 10**9}), small)
    assert rare["types"] == []
    np.testing.assert_array_equal(_loaded(rare).credit(renamed), _loaded(rare).credit(small.converting))


@pytest.mark.parametrize(
    ("fallback", "expected"), [("none", [0, 0, 0]), ("linear", [0.5, 0.5, 1]), ("last", [0, 1, 1])]
)
def test_without_journeys_of_both_classes_the_fallback_decides(fallback, expected):
    mechanism = create("attention", {"fallback": fallback})
    journeys = by_hand([["a", "b"], [], ["a"]])
    parameters = mechanism.fit(mechanism.merge([mechanism.statistics(journeys, by_hand([]))]))
    assert parameters["weights"] == []
    mechanism.load(json.loads(json.dumps(parameters)))
    assert mechanism.credit(journeys).tolist() == expected
    mechanism.load(mechanism.fit(mechanism.merge([])))
    assert mechanism.credit(journeys).tolist() == expected


def test_other_confounders_than_fitted(quick):
    with pytest.raises(MalTfError, match="fitted with 1 confounders, found 0"):
        _loaded(quick).credit(by_hand([["a"]]))


@pytest.mark.parametrize(
    "bad",
    [
        {"sample": 1},
        {"credit": "gradient"},
        {"max_touches": 0},
        {"min_count": 0},
        {"units": 2.5},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"batch_size": 0},
        {"confounder_buckets": 0},
        {"balance": "yes"},
        {"fallback": "first"},
        {"seed": -1},
    ],
)
def test_bad_arguments(bad):
    with pytest.raises(MalTfError, match=next(iter(bad))):
        create("attention", bad)


def test_a_loss_that_is_not_finite(small):
    with pytest.raises(MalTfError, match="not finite"):
        _fit(create("attention", QUICK | {"learning_rate": 1e38, "epochs": 2}), small)


def test_imports_no_tensorflow():
    code = (
        "import pickle, sys, mal_tf.attribution.attention as a; pickle.dumps(a.Attention()); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
