"""Training data of the `attention` mechanism: a sample of journeys, and moments with and without a conversion."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.arrays import flatten_ranges
from features.hashing import mix64
from mal_tf.attribution.journeys import Journeys

#: Type codes: no touch, a type that the fit does not know, and the first of the known types.
PADDING, UNKNOWN, FIRST_KNOWN = 0, 1, 2

#: Time resolution of the model, as a share of the horizon.
RESOLUTION = 1e-3

#: An empty set of journeys.
NO_JOURNEYS = Journeys(
    offsets=np.zeros(1, np.int64),
    click=np.zeros(0, np.int64),
    touchpoint=np.zeros(0, np.int64),
    touchpoints=np.zeros(0, object),
    age=np.zeros(0),
    value=np.zeros(0),
    key=np.zeros(0, np.uint64),
    confounders=np.zeros((0, 0), np.uint64),
)

#: Bounds of a row's inverse-propensity weight.
_CLIP = (0.1, 10.0)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sample of journeys with at least one touch, and the size of the population it was drawn from.

    Attributes:
        converting: sampled converting journeys, ordered by key; `click` and `value` are 0.
        other: sampled other journeys, likewise.
        totals: numbers of converting and other journeys in the population.
        horizon: hours of the longest converting journey of the population.
    """

    converting: Journeys
    other: Journeys
    totals: tuple[int, int]
    horizon: float

    def types(self, min_count: int) -> list[str]:
        """Sorted names of the types with at least `min_count` touches in the sample."""
        both = _concatenate(self.converting, self.other)
        return both.touchpoints[np.bincount(both.touchpoint, minlength=both.touchpoints.size) >= min_count].tolist()


@dataclasses.dataclass(frozen=True)
class Rows:
    """Inputs of the network: R moments, each with at most W touches before it in time order, padded at the end.

    Attributes:
        types: int64 [R, W], codes; `PADDING` where there is no touch.
        age: float64 [R, W], time from the touch to the moment, as a share of the horizon; 0 where there is no touch.
        user: int64 [R, F], buckets of the confounders.
    """

    types: np.ndarray
    age: np.ndarray
    user: np.ndarray

    def take(self, rows: np.ndarray) -> "Rows":
        """The rows at these positions."""
        return Rows(self.types[rows], self.age[rows], self.user[rows])


class Moments:
    """Case-base sampling: the moments of conversion, and one moment without a conversion per journey.

    The logit of a logistic regression of the former against the latter is the logarithm of the conversion rate, up to a
    constant (Hanley and Miettinen, "Fitting smooth-in-time prognostic risk functions via logistic regression", 2009; for
    recurrent events Saarela, 2016). Whole journeys would reveal the label: the last touch of a journey without conversion
    has age 0, that of a converting one almost never.

    A journey is under observation from its first touch to its conversion or, without one, until the horizon after its last
    touch. Its moment is drawn from one of its latest `width` touches, chosen at random, at a time s after it and before
    the next touch or the end, with density ∝ 1 / (s + r), r being the resolution, because rates change most right after a
    touch. It is weighted by the inverse of that density and of the sampled share of its class.

    Args:
        sample: journeys to draw moments from.
        types: names of the known types.
        width: touches per row; older ones, and those older than the horizon, are left out.
        buckets: hash buckets per confounder.
    """

    def __init__(self, sample: Sample, types: Sequence[str], width: int, buckets: int):
        both = (sample.converting, sample.other)
        sizes = [len(journeys) for journeys in both]
        self.journeys = coded(_concatenate(*both), types)
        self.user = users(self.journeys, buckets)
        self.scale = np.repeat(np.array(sample.totals) / np.maximum(sizes, 1), sizes)
        self.converted = np.repeat([True, False], sizes)
        self._width, self._horizon = width, sample.horizon

    def draw(
        self, chosen: np.ndarray, balance: np.ndarray, random: np.random.Generator
    ) -> tuple[Rows, np.ndarray, np.ndarray]:
        """Draws moments of the given journeys.

        Args:
            chosen: int64, positions of the journeys.
            balance: float64 [T], logarithm of each touch's inverse-propensity ratio. The weight of a row is multiplied by
                the geometric mean over its touches, within 0.1 … 10.
            random: random generator.

        Returns:
            R rows; whether each is a conversion, bool [R]; and weights, float64 [R], which sum to R / 2 for each class.
        """
        journeys, converted = self.journeys, self.converted[chosen]
        begin, end = journeys.offsets[chosen], journeys.offsets[chosen + 1]
        recent = np.minimum(end - begin, self._width)
        touch = end - 1 - (random.random(chosen.size) * recent).astype(np.int64)
        final = np.where(converted, 0.0, -self._horizon)
        after = np.where(touch + 1 < end, journeys.age[np.minimum(touch + 1, end - 1)], final)
        resolution = RESOLUTION * self._horizon
        stretch = np.log1p(np.minimum(journeys.age[touch] - after, self._horizon) / resolution)
        elapsed = resolution * np.expm1(random.random(chosen.size) * stretch)
        weight = recent * stretch * (elapsed + resolution) * self.scale[chosen]

        cases = np.flatnonzero(converted)
        stop = np.concatenate([end[cases], touch + 1])
        length = np.minimum(stop - np.concatenate([begin[cases], begin]), self._width)
        moment = np.concatenate([np.zeros(cases.size), journeys.age[touch] - elapsed])
        user = self.user[np.concatenate([chosen[cases], chosen])]
        types, age, length = _latest_touches(journeys, stop, length, moment, self._horizon, self._width)
        rows = Rows(types, age, user)
        total = np.concatenate([[0.0], np.cumsum(balance)])
        ratio = np.exp((total[stop] - total[stop - length]) / np.maximum(length, 1))
        weight = np.concatenate([np.ones(cases.size), weight]) * np.clip(ratio, *_CLIP)
        label = np.arange(stop.size) < cases.size
        classes = np.bincount(label, weight, 2)
        return rows, label, weight * stop.size / 2 / np.where(classes > 0, classes, 1.0)[label.astype(int)]


def draw(converting: Journeys, other: Journeys, count: int, touches: int) -> Sample:
    """Draws the sample of one part of the data.

    Args:
        converting: converting journeys, also empty ones.
        other: other journeys, also empty ones.
        count: most journeys of each class. Those with the smallest keys are drawn, equal keys in the order of a hash of the
            journey's contents.
        touches: number of latest touches to keep of each journey.
    """
    converting, other = (journeys.take(np.flatnonzero(journeys.lengths > 0)) for journeys in (converting, other))
    drawn = [_smallest(_latest(_below(journeys, count), touches), count) for journeys in (converting, other)]
    return Sample(drawn[0], drawn[1], (len(converting), len(other)), float(converting.age.max(initial=0.0)))


def merge(one: Sample, another: Sample, count: int) -> Sample:
    """Sample of two parts together, identical to the sample drawn from the whole, however it was split."""
    converting, other = (
        _smallest(_concatenate(*pair), count)
        for pair in ((one.converting, another.converting), (one.other, another.other))
    )
    totals = (one.totals[0] + another.totals[0], one.totals[1] + another.totals[1])
    return Sample(converting, other, totals, max(one.horizon, another.horizon))


def coded(journeys: Journeys, types: Sequence[str]) -> Journeys:
    """Replaces touchpoint types by the codes of the network: `FIRST_KNOWN` + index in `types`, or `UNKNOWN`."""
    code_by_name = {name: FIRST_KNOWN + index for index, name in enumerate(types)}
    code = np.array([code_by_name.get(name, UNKNOWN) for name in journeys.touchpoints], np.int64)
    return dataclasses.replace(journeys, touchpoint=code[journeys.touchpoint])


def users(journeys: Journeys, buckets: int) -> np.ndarray:
    """Hash buckets of the journeys' confounders: int64 [J, F]."""
    return (journeys.confounders % np.uint64(buckets)).astype(np.int64)


def at_end(journeys: Journeys, length: int, horizon: float, buckets: int) -> Rows:
    """One row per journey at its end, with its latest `length` touches, which all must have. Types must be `coded`."""
    lengths, zeros = np.full(len(journeys), length), np.zeros(len(journeys))
    types, age, _ = _latest_touches(journeys, journeys.offsets[1:], lengths, zeros, horizon, length, oldest=np.inf)
    return Rows(types, age, users(journeys, buckets))


def _latest_touches(
    journeys, stop, length, moment, horizon, width, *, oldest=1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Types and ages of the last `length` touches before `stop`, and the number of them at most `oldest` horizons old."""
    back = np.arange(width, 0, -1)
    index = np.maximum(stop[:, None] - back, 0)
    length = ((back <= length[:, None]) & (journeys.age[index] - moment[:, None] <= oldest * horizon)).sum(axis=1)
    place = np.arange(width)
    filled = place < length[:, None]
    index = np.where(filled, (stop - length)[:, None] + place, 0)
    age = np.where(filled, (journeys.age[index] - moment[:, None]) / horizon, 0.0)
    return np.where(filled, journeys.touchpoint[index], PADDING), age, length


def _below(journeys: Journeys, count: int) -> Journeys:
    """Journeys that can be among the `count` with the smallest keys."""
    if len(journeys) <= count:
        return journeys
    return journeys.take(np.flatnonzero(journeys.key <= np.partition(journeys.key, count - 1)[count - 1]))


def _smallest(journeys: Journeys, count: int) -> Journeys:
    """The `count` journeys with the smallest keys, in that order, with only the type names that occur in them."""
    journeys = journeys.take(np.lexsort((_digest(journeys), journeys.key))[:count])
    used, touchpoint = np.unique(journeys.touchpoint, return_inverse=True)
    return dataclasses.replace(journeys, touchpoint=touchpoint, touchpoints=journeys.touchpoints[used])


def _latest(journeys: Journeys, touches: int) -> Journeys:
    """Journeys cut to their latest touches, without clicks and values, and with sorted type names."""
    length = np.minimum(journeys.lengths, touches)
    offsets, index = flatten_ranges(journeys.offsets[1:] - length, length)
    names, code = np.unique(journeys.touchpoints, return_inverse=True)
    return dataclasses.replace(
        journeys,
        offsets=offsets,
        click=np.zeros(index.size, np.int64),
        touchpoint=code[journeys.touchpoint[index]],
        touchpoints=names,
        age=journeys.age[index],
        value=np.zeros(len(journeys)),
    )


def _concatenate(one: Journeys, another: Journeys) -> Journeys:
    """Concatenates journeys and sorts the union of their type names."""
    if not len(one) or not len(another):
        return one if len(one) else another
    names = np.unique(np.concatenate([one.touchpoints, another.touchpoints]))
    codes = (np.searchsorted(names, journeys.touchpoints)[journeys.touchpoint] for journeys in (one, another))
    arrays: dict[str, Any] = {
        field: np.concatenate([getattr(one, field), getattr(another, field)])
        for field in ("click", "age", "value", "key", "confounders")
    }
    offsets = np.concatenate([one.offsets, one.offsets[-1] + another.offsets[1:]])
    return Journeys(offsets=offsets, touchpoint=np.concatenate(list(codes)), touchpoints=names, **arrays)


def _digest(journeys: Journeys) -> np.ndarray:
    """Hash of the contents of each journey: uint64 [J]. Journeys have at least one touch."""
    if not len(journeys):
        return np.zeros(0, np.uint64)
    place = np.arange(journeys.age.size) - np.repeat(journeys.offsets[:-1], journeys.lengths)
    kind = pd.util.hash_array(journeys.touchpoints, categorize=False)[journeys.touchpoint]
    touch = mix64(mix64(kind + place.astype(np.uint64)) ^ journeys.age.view(np.uint64))
    digest = np.add.reduceat(touch, journeys.offsets[:-1])
    for column in journeys.confounders.T:
        digest = mix64(digest ^ column)
    return digest
