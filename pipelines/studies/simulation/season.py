"""Seasonal activity by hour and weekday, with draws from decaying seasonal rates and the integrals of these rates."""

import numpy as np

from features.time_units import SECONDS_PER_HOUR

HOURS_PER_WEEK = 168


class Season:
    """Relative activity s(t) by hour of the week, constant within an hour, with mean 1.

    Args:
        hours: relative activity by hour of the day.
        weekdays: relative activity by day of the week, from Monday.
        first_weekday: weekday of second 0, where 0 is Monday.
    """

    def __init__(self, hours, weekdays, first_weekday: int):
        rate = np.outer(np.roll(weekdays, -first_weekday), hours).ravel()
        self._rate = rate / rate.mean()
        self._peak = self._rate.max()

    def points(self, random: np.random.Generator, start: np.ndarray, mean: np.ndarray, decay: np.ndarray, end: float):
        """Draws a Poisson process of rate s(t) · mean / decay · exp(−(t − start) / decay) for each parent, by thinning.

        Args:
            random: random generator.
            start: float64 [N], start of each parent in seconds.
            mean: float64 [N], mean number of points per parent if s = 1 and without an end.
            decay: float64 [N], decay time in seconds.
            end: end in seconds; later points are left out.

        Returns:
            The parent of each point, int64 [K], and its time, float64 [K].
        """
        parent = np.repeat(np.arange(start.size), random.poisson(mean * self._peak))
        time = start[parent] + decay[parent] * random.standard_exponential(parent.size)
        keep = random.random(parent.size) * self._peak < self._rate[self._hour(time) % HOURS_PER_WEEK]
        keep &= time < end
        return parent[keep], time[keep]

    def integral(self, time: np.ndarray, decay: np.ndarray, length: np.ndarray | float) -> np.ndarray:
        """Computes ∫_t^{t + length} s(u) · exp(−(u − t) / decay) du exactly, in seconds, float64 [N]."""
        distinct, kind = np.unique(decay, return_inverse=True)
        tails = self._tails(distinct)
        return self._tail(time, decay, kind, tails) - np.exp(-length / decay) * self._tail(
            time + length, decay, kind, tails
        )

    def _tails(self, decay: np.ndarray) -> np.ndarray:
        """Computes ∫_t^∞ s(u) · exp(−(u − t) / decay) du at each full hour t of the week, float64 [D, HOURS_PER_WEEK + 1]."""
        fade = np.exp(-SECONDS_PER_HOUR / decay)
        part = self._rate * (decay * (1 - fade))[:, None]
        tails = np.empty((decay.size, HOURS_PER_WEEK + 1))
        tails[:, HOURS_PER_WEEK] = (part * fade[:, None] ** np.arange(HOURS_PER_WEEK)).sum(axis=1) / (
            1 - fade**HOURS_PER_WEEK
        )
        for hour in range(HOURS_PER_WEEK - 1, -1, -1):
            tails[:, hour] = part[:, hour] + fade * tails[:, hour + 1]
        return tails

    def _tail(self, time, decay, kind, tails) -> np.ndarray:
        hour = self._hour(time)
        fade = np.exp(((time - SECONDS_PER_HOUR * hour) - SECONDS_PER_HOUR) / decay)
        return self._rate[hour % HOURS_PER_WEEK] * decay * (1 - fade) + fade * tails[kind, hour % HOURS_PER_WEEK + 1]

    @staticmethod
    def _hour(time: np.ndarray) -> np.ndarray:
        return (time // SECONDS_PER_HOUR).astype(np.int64)
