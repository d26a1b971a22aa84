"""Rules: attribution mechanisms without parameters to fit. Source: MAL (arXiv 2508.15217)."""

import numpy as np

from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.mechanism import Mechanism


class First(Mechanism):
    """All credit to the first eligible click."""

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        return _one_each(journeys, journeys.offsets[:-1])


class Last(Mechanism):
    """All credit to the last eligible click."""

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        return _one_each(journeys, journeys.offsets[1:] - 1)


class Linear(Mechanism):
    """The same credit, 1 / length, to every eligible click."""

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        lengths = journeys.lengths
        return np.repeat(1.0 / np.maximum(lengths, 1), lengths)


def _one_each(journeys: Journeys, position: np.ndarray) -> np.ndarray:
    credit = np.zeros(journeys.click.size)
    credit[position[journeys.lengths > 0]] = 1.0
    return credit
