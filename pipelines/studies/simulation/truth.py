"""What is known about each click and conversion because the market is simulated. docs/simulation.md has the formulas."""

import dataclasses

import numpy as np

from features.arrays import composite_keys, flatten_ranges
from features.history import last_events
from pipelines.studies.simulation.block import Block, Clicks, Conversions, Interests
from pipelines.studies.simulation.world import World


@dataclasses.dataclass(frozen=True)
class Truth:
    """The truth about C clicks and J conversions, in the block's order.

    A hazard is given without the season s(t), which all of its parts share and which cancels in all credits.

    Attributes:
        hazard: float64 [C], conversions per second that the click adds at its own time: a / τ.
        expected_credit: float64 [C], ∫ of that over the window, season included: the mean of `credit`.
        p_caused: float64 [C], P(the click causes at least one conversion within the window).
        p_conversion: float64 [C], P(at least one conversion within the window that no later click and no later interest
            brings), given everything before and at the click.
        credit: float64 [C], Σ over conversions within the window of the click's share of the hazard.
        credit_any_time: float64 [C], the same over all later conversions.
        credit_among_ads: float64 [C], as `credit`, but the share of the hazard that clicks make up, without the base.
        caused: int64 [C], conversions within the window whose parent is the click.
        conversion_hazard: float64 [J], λ / s at the conversion.
        ads_share: float64 [J], what clicks make up of it; the base makes up the rest.
    """

    hazard: np.ndarray
    expected_credit: np.ndarray
    p_caused: np.ndarray
    p_conversion: np.ndarray
    credit: np.ndarray
    credit_any_time: np.ndarray
    credit_among_ads: np.ndarray
    caused: np.ndarray
    conversion_hazard: np.ndarray
    ads_share: np.ndarray


def truth(world: World, block: Block, window: float) -> Truth:
    """Computes the truth about a block for a label window of `window` seconds."""
    clicks, interests, conversions = block.clicks, block.interests, block.conversions
    tau, delta = (decay[world.product_industry[clicks.product]] for decay in (world.carry_over, world.interest))
    hazard, base = clicks.mean / tau, interests.mean / world.interest[world.product_industry[interests.product]]

    # What clicks and interests before and at a click still add at its time.
    carried = _faded(clicks, clicks, hazard, tau)
    still = _faded(clicks, interests, base, delta)
    ours, others = (world.season.integral(clicks.time, decay, window) for decay in (tau, delta))
    expected = hazard * ours

    # What each click and interest adds at each later conversion.
    industry = world.product_industry[conversions.product]
    at, click = _earlier(conversions, clicks)
    age = conversions.time[at] - clicks.time[click]
    added = hazard[click] * np.exp(-age / world.carry_over[industry][at])
    ads = np.bincount(at, added, conversions.time.size)
    total = ads + _faded(conversions, interests, base, world.interest[industry])
    inside = age <= window
    share, among = added / total[at], added / np.maximum(ads[at], np.finfo(float).tiny)

    def per_click(credit: np.ndarray) -> np.ndarray:
        return np.bincount(click, credit, clicks.time.size)

    caused = (conversions.click[at] == click) & inside
    return Truth(
        hazard=hazard,
        expected_credit=expected,
        p_caused=-np.expm1(-expected),
        p_conversion=-np.expm1(-carried * ours - still * others),
        credit=per_click(share * inside),
        credit_any_time=per_click(share),
        credit_among_ads=per_click(among * inside),
        caused=per_click(caused).astype(np.int64),
        conversion_hazard=total,
        ads_share=ads / total,
    )


def similarities(clicks: Clicks, vectors: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines of each click's ad with the ads of the user's last `length` strictly earlier clicks, most recent first.

    Returns:
        int64 [C + 1], offsets; float32, the cosines; float64 [C], their means, NaN where there is no earlier click.
    """
    order = np.lexsort((clicks.time, clicks.user))
    offsets, index = last_events(clicks.user[order], clicks.time[order], clicks.user, clicks.time, length)
    counts = np.diff(offsets)
    click = np.repeat(np.arange(counts.size), counts)
    cosine = np.einsum("ij,ij->i", vectors[clicks.ad[click]], vectors[clicks.ad[order[index]]])
    with np.errstate(invalid="ignore"):
        return offsets, cosine, np.bincount(click, cosine, counts.size) / counts


def _faded(
    events: Clicks | Conversions, sources: Clicks | Interests, amount: np.ndarray, decay: np.ndarray
) -> np.ndarray:
    """Σ over the sources before and at each event of amount · exp(−age / the event's decay)."""
    at, source = _earlier(events, sources)
    faded = amount[source] * np.exp((sources.time[source] - events.time[at]) / decay[at])
    return np.bincount(at, faded, events.time.size)


def _earlier(events: Clicks | Conversions, sources: Clicks | Interests) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (event, source) of one user and product whose source is not later; sources are sorted by all three.

    The two are one table: a click's sources are the clicks sorted up to it, itself included.
    """
    products = 1 + max(int(np.max(part.product, initial=0)) for part in (events, sources))
    pairs = [part.user * products + part.product for part in (events, sources)]
    time = np.floor(events.time).astype(np.int64)
    now, key, first = composite_keys([*pairs, pairs[0]], [time, sources.time, np.zeros_like(time)])
    stop = np.arange(1, now.size + 1) if events is sources else np.searchsorted(key, now, side="right")
    start = np.searchsorted(key, first, side="left")
    offsets, source = flatten_ranges(start, np.maximum(stop - start, 0))
    return np.repeat(np.arange(now.size), np.diff(offsets)), source
