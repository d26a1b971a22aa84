"""A mechanism: the journey's last two touches share the credit."""

import numpy as np

from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.mechanism import Mechanism


class LastTwo(Mechanism):
    """The last touch gets `last` of the credit, the one before it the rest; an only touch gets all.

    Args:
        last: share of the last touch.
    """

    def __init__(self, last: float = 0.7):
        if not 0 <= last <= 1:
            raise ValueError(f"last: expected a share, found {last}")
        self.last = last

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        first, end = journeys.offsets[:-1], journeys.offsets[1:]
        credit = np.zeros(journeys.click.size)
        np.add.at(credit, end - 1, self.last)
        np.add.at(credit, np.maximum(end - 2, first), 1 - self.last)
        return credit
