import numpy as np
import pytest

from pipelines.studies.simulation.block import Clicks
from pipelines.studies.simulation.truth import similarities
from tests.support.market import WINDOW


def test_credits_sum_to_the_share_of_the_hazard_that_ads_made(block, known):
    assert known.credit_any_time.sum() == pytest.approx(known.ads_share.sum())
    by_click = block.conversions.click >= 0
    # The share is the probability that the cause was a click.
    deviation = np.sqrt((known.ads_share * (1 - known.ads_share)).sum())
    assert by_click.sum() == pytest.approx(known.ads_share.sum(), abs=4 * deviation)
    assert (known.credit <= known.credit_any_time + 1e-12).all()
    assert (known.credit <= known.credit_among_ads + 1e-12).all()


def test_credit_and_p_conversion_agree_with_their_definition(world, block, known):
    """Pair by pair in plain Python, on the clicks of some users."""
    clicks, interests, found = block.clicks, block.interests, block.conversions

    def hazard(parents, index, decays, at):
        decay = decays[world.product_industry[parents.product[index]]]
        return parents.mean[index] / decay * np.exp((parents.time[index] - at) / decay)

    chosen = np.flatnonzero((clicks.user < 60) | (known.credit > 0.9))[:1500]
    for i in chosen:
        pair = [
            np.flatnonzero((part.user == clicks.user[i]) & (part.product == clicks.product[i]))
            for part in (clicks, interests, found)
        ]
        credit, among = 0.0, 0.0
        for j in pair[2]:
            time = found.time[j]
            if 0 <= time - clicks.time[i] <= WINDOW:
                ads = sum(hazard(clicks, k, world.carry_over, time) for k in pair[0] if clicks.time[k] <= time)
                base = sum(hazard(interests, k, world.interest, time) for k in pair[1] if interests.time[k] <= time)
                credit += hazard(clicks, i, world.carry_over, time) / (ads + base)
                among += hazard(clicks, i, world.carry_over, time) / ads
        assert known.credit[i] == pytest.approx(credit, rel=1e-6, abs=1e-12)
        assert known.credit_among_ads[i] == pytest.approx(among, rel=1e-6, abs=1e-12)
        now, industry = clicks.time[i], world.product_industry[clicks.product[i]]
        ads = sum(hazard(clicks, k, world.carry_over, now) for k in pair[0] if k <= i)
        base = sum(hazard(interests, k, world.interest, now) for k in pair[1] if interests.time[k] <= now)
        mean = sum(
            amount * world.season.integral(np.array([now]), decay[industry : industry + 1], WINDOW)[0]
            for amount, decay in ((ads, world.carry_over), (base, world.interest))
        )
        assert known.p_conversion[i] == pytest.approx(-np.expm1(-mean), rel=1e-9)


def test_probabilities_are_calibrated(world, block, known):
    """In every decile, against what happened: conversions that the past of the click brought, or the click itself."""
    clicks, interests, found = block.clicks, block.interests, block.conversions
    cause = np.where(found.click >= 0, clicks.time[found.click], interests.time[np.maximum(found.interest, 0)])
    time = np.floor(found.time).astype(np.int64)
    pair = found.user * world.price.size + found.product
    at = clicks.user * world.price.size + clicks.product
    begin, end = np.searchsorted(pair, at, side="left"), np.searchsorted(pair, at, side="right")
    happened = np.zeros(at.size, bool)
    for step in range(int((end - begin).max())):
        row = np.minimum(begin + step, pair.size - 1)
        after = (clicks.time <= time[row]) & (time[row] - clicks.time <= WINDOW) & (cause[row] <= clicks.time)
        happened |= (begin + step < end) & after
    mature = clicks.time + WINDOW <= world.end
    for p, outcome in ((known.p_conversion, happened), (known.p_caused, known.caused > 0)):
        part = np.digitize(p, np.quantile(p[mature], np.arange(0.1, 1, 0.1)))
        for number in range(10):
            chosen = mature & (part == number)
            # Clicks of one user and product share their outcomes, hence the wide bound.
            deviation = np.sqrt((p * (1 - p))[chosen].sum())
            assert outcome[chosen].sum() == pytest.approx(p[chosen].sum(), abs=5 * deviation + 2)
    expected = known.expected_credit[mature].sum()
    assert known.credit[mature].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert known.caused[mature].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_similarities_are_cosines_with_earlier_clicks_only():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    time = np.array([10, 30, 20, 30, 5])
    zeros = np.zeros(5, np.int64)
    clicks = Clicks(np.array([0, 0, 0, 0, 1]), np.array([0, 0, 1, 1, 0]), zeros, np.array([0, 2, 1, 1, 0]), time, zeros)
    offsets, cosines, means = similarities(clicks, vectors, length=2)
    # 10: nothing before; 30: 20 then 10, not the other at 30; 20: 10; 30: 20 then 10; the other user: nothing.
    assert offsets.tolist() == [0, 0, 2, 3, 5, 5]
    assert cosines == pytest.approx([0.8, 0.6, 0.0, 1.0, 0.0])
    assert means[1:4] == pytest.approx([0.7, 0.0, 0.5]) and np.isnan(means[[0, 4]]).all()
