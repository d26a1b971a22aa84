"""What depends on the hour and the weekday: points drawn from fading rates, and the integrals of these rates."""

import numpy as np

from features.time_units import SECONDS_PER_HOUR

WEEK = 168


class Season:
    """s(t): how active people are, by hour of the week, constant within an hour; its mean is 1.

    Args:
        hours: relative activity by hour of the day.
        weekdays: the same by day of the week, from Monday.
        first_weekday: of second 0; 0 is Monday.
    """

    def __init__(self, hours, weekdays, first_weekday: int):
        rate = np.outer(np.roll(weekdays, -first_weekday), hours).ravel()
        self._rate = rate / rate.mean()
        self._peak = self._rate.max()

    def points(self, random: np.random.Generator, start: np.ndarray, mean: np.ndarray, decay: np.ndarray, end: float):
        """Draws, per parent, a Poisson process of rate s(t) · mean / decay · exp(−(t − start) / decay), by thinning.

        Args:
            random: source of the draws.
            start: float64 [N], when each parent begins, in seconds.
            mean: float64 [N], mean points per parent were s = 1 and there no end.
            decay: float64 [N], seconds.
            end: seconds; later points are left out.

        Returns:
            int64 [K], the parent of each point, and float64 [K], when it happens.
        """
        parent = np.repeat(np.arange(start.size), random.poisson(mean * self._peak))
        time = start[parent] + decay[parent] * random.standard_exponential(parent.size)
        keep = random.random(parent.size) * self._peak < self._rate[self._hour(time) % WEEK]
        keep &= time < end
        return parent[keep], time[keep]

    def integral(self, time: np.ndarray, decay: np.ndarray, length: np.ndarray | float) -> np.ndarray:
        """∫_t^{t + length} s(u) · exp(−(u − t) / decay) du, in seconds, exactly; float64 [N]."""
        distinct, kind = np.unique(decay, return_inverse=True)
        tails = self._tails(distinct)
        return self._tail(time, decay, kind, tails) - np.exp(-length / decay) * self._tail(
            time + length, decay, kind, tails
        )

    def _tails(self, decay: np.ndarray) -> np.ndarray:
        """∫_t^∞ s(u) · exp(−(u − t) / decay) du at each full hour t of the week: float64 [D, WEEK + 1]."""
        fade = np.exp(-SECONDS_PER_HOUR / decay)
        part = self._rate * (decay * (1 - fade))[:, None]
        tails = np.empty((decay.size, WEEK + 1))
        tails[:, WEEK] = (part * fade[:, None] ** np.arange(WEEK)).sum(axis=1) / (1 - fade**WEEK)  # as at hour 0
        for hour in range(WEEK - 1, -1, -1):
            tails[:, hour] = part[:, hour] + fade * tails[:, hour + 1]
        return tails

    def _tail(self, time, decay, kind, tails) -> np.ndarray:
        hour = self._hour(time)
        fade = np.exp(((time - SECONDS_PER_HOUR * hour) - SECONDS_PER_HOUR) / decay)
        return self._rate[hour % WEEK] * decay * (1 - fade) + fade * tails[kind, hour % WEEK + 1]

    @staticmethod
    def _hour(time: np.ndarray) -> np.ndarray:
        return (time // SECONDS_PER_HOUR).astype(np.int64)
