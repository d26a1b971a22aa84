"""The truth about each click and conversion of a simulated market; docs/simulation.md has the formulas."""

import dataclasses

import numpy as np

from features.arrays import composite_keys, flatten_ranges
from features.history import last_events
from pipelines.studies.simulation.block import Block, Clicks, Conversions, Interests
from pipelines.studies.simulation.world import World


@dataclasses.dataclass(frozen=True)
class Truth:
    """The truth about C clicks and J conversions, in the order of the block.

    Hazards exclude the factor s(t) of the season, which is common to all parts and cancels in credits.

    Attributes:
        hazard: float64 [C], conversions per second that the click adds at its own time, a / τ.
        expected_credit: float64 [C], integral of the click's hazard over the window, including the season; the expectation of
            `credit`.
        p_caused: float64 [C], P(the click causes at least one conversion within the window).
        p_conversion: float64 [C], P(at least one conversion within the window that is not caused by a later click or
            interest), given the history up to the click.
        credit: float64 [C], sum of the click's share of the hazard over conversions within the window.
        credit_any_time: float64 [C], the same sum over all later conversions.
        credit_among_ads: float64 [C], like `credit`, but relative to the hazard of clicks only, without the base.
        caused: int64 [C], number of conversions within the window that the click caused.
        conversion_hazard: float64 [J], λ / s at the conversion.
        ads_share: float64 [J], share of clicks in that hazard; the rest is the base.
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

    # Hazards of earlier clicks and interests, and of the click itself, that remain at the time of a click.
    carried = _decayed(clicks, clicks, hazard, tau)
    remaining = _decayed(clicks, interests, base, delta)
    click_integral, interest_integral = (world.season.integral(clicks.time, decay, window) for decay in (tau, delta))
    expected = hazard * click_integral

    # Hazards of each click and interest at each later conversion.
    industry = world.product_industry[conversions.product]
    at, click = _earlier(conversions, clicks)
    age = conversions.time[at] - clicks.time[click]
    added = hazard[click] * np.exp(-age / world.carry_over[industry][at])
    ads = np.bincount(at, added, conversions.time.size)
    total = ads + _decayed(conversions, interests, base, world.interest[industry])
    inside = age <= window
    share, among = added / total[at], added / np.maximum(ads[at], np.finfo(float).tiny)

    def per_click(credit: np.ndarray) -> np.ndarray:
        return np.bincount(click, credit, clicks.time.size)

    caused = (conversions.click[at] == click) & inside
    return Truth(
        hazard=hazard,
        expected_credit=expected,
        p_caused=-np.expm1(-expected),
        p_conversion=-np.expm1(-carried * click_integral - remaining * interest_integral),
        credit=per_click(share * inside),
        credit_any_time=per_click(share),
        credit_among_ads=per_click(among * inside),
        caused=per_click(caused).astype(np.int64),
        conversion_hazard=total,
        ads_share=ads / total,
    )


def similarities(clicks: Clicks, vectors: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes cosines of each click's ad with those of the user's last `length` strictly earlier clicks, most recent first.

    Returns:
        Offsets, int64 [C + 1]; cosines, float32; and their means, float64 [C], NaN if there is no earlier click.
    """
    order = np.lexsort((clicks.time, clicks.user))
    offsets, index = last_events(clicks.user[order], clicks.time[order], clicks.user, clicks.time, length)
    counts = np.diff(offsets)
    click = np.repeat(np.arange(counts.size), counts)
    cosine = np.einsum("ij,ij->i", vectors[clicks.ad[click]], vectors[clicks.ad[order[index]]])
    with np.errstate(invalid="ignore"):
        return offsets, cosine, np.bincount(click, cosine, counts.size) / counts


def _decayed(
    events: Clicks | Conversions, sources: Clicks | Interests, amount: np.ndarray, decay: np.ndarray
) -> np.ndarray:
    """Sums amount · exp(−age / decay) over the sources up to each event, with the decay time of the event."""
    at, source = _earlier(events, sources)
    decayed = amount[source] * np.exp((sources.time[source] - events.time[at]) / decay[at])
    return np.bincount(at, decayed, events.time.size)


def _earlier(events: Clicks | Conversions, sources: Clicks | Interests) -> tuple[np.ndarray, np.ndarray]:
    """Returns all pairs (event, source) of the same user and product whose source is not later than the event.

    Sources must be sorted by user, product and time. If both are the same table, the sources of a click are the clicks up to
    and including itself.
    """
    products = 1 + max(int(np.max(part.product, initial=0)) for part in (events, sources))
    pairs = [part.user * products + part.product for part in (events, sources)]
    time = np.floor(events.time).astype(np.int64)
    now, key, first = composite_keys([*pairs, pairs[0]], [time, sources.time, np.zeros_like(time)])
    stop = np.arange(1, now.size + 1) if events is sources else np.searchsorted(key, now, side="right")
    start = np.searchsorted(key, first, side="left")
    offsets, source = flatten_ranges(start, np.maximum(stop - start, 0))
    return np.repeat(np.arange(now.size), np.diff(offsets)), source
