"""The attribution mechanism: the one interface that rules and data-driven mechanisms have."""

import abc
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from features.errors import MalTfError
from mal_tf.attribution.journeys import Journeys

#: Where a click is in a converting journey; the only click of a journey is its first and its last.
FIRST, MIDDLE, LAST = PLACES = ("first", "middle", "last")


class Mechanism(abc.ABC):
    """A rule that gives each touch of a converting journey a credit ≥ 0, in total at most 1 per journey.

    Its parameters are the arguments of its constructor, which raises ValueError or TypeError for bad ones.

    Example:
        >>> import mal_tf
        >>> class Longest(mal_tf.Mechanism):
        ...     def credit(self, journeys):
        ...         return ((journeys.lengths > 2) / np.maximum(journeys.lengths, 1))[journeys.owner]
    """

    #: Whether `load` must be called with fitted parameters before `credit`.
    data_driven = False

    #: Places whose clicks alone get credit, and places whose clicks get some in every journey, as far as is known.
    may_credit: frozenset[str] = frozenset(PLACES)
    always_credits: frozenset[str] = frozenset()

    @abc.abstractmethod
    def credit(self, journeys: Journeys) -> np.ndarray:
        """Credits of converting journeys: float64 [T], ≥ 0, in total at most 1 per journey.

        A journey's credits depend on that journey alone: the job hands journeys over in blocks as it sees fit.
        """


class DataDrivenMechanism(Mechanism):
    """A mechanism whose parameters are fitted on converting and other journeys.

    Statistics of parts of the data are made where the data is, merged in any order, and turned into parameters once.

    Example:
        >>> from collections import Counter
        >>> import mal_tf
        >>> class Weighted(mal_tf.DataDrivenMechanism):
        ...     def statistics(self, converting, other):
        ...         return Counter(converting.touchpoints[converting.touchpoint].tolist())
        ...     def merge(self, parts):
        ...         return sum(parts, Counter())
        ...     def fit(self, statistics):
        ...         return dict(statistics)
        ...     def load(self, parameters):
        ...         self._counts = parameters
        ...     def credit(self, journeys):
        ...         weight = np.array([self._counts.get(name, 0) for name in journeys.touchpoints])[journeys.touchpoint]
        ...         total = np.bincount(journeys.owner, weight, len(journeys))[journeys.owner]
        ...         return np.divide(weight, total, out=np.zeros(weight.size), where=total > 0)
    """

    data_driven = True

    @abc.abstractmethod
    def statistics(self, converting: Journeys, other: Journeys) -> Any:
        """Sufficient statistics of one part of the data; must pickle and merge exactly (integer counts, samples).

        Parts are cut anywhere between journeys; either argument may be empty.
        """

    @abc.abstractmethod
    def merge(self, parts: Iterable[Any]) -> Any:
        """Statistics of all parts together, whatever their order; of no part: the empty statistics."""

    @abc.abstractmethod
    def fit(self, statistics: Any) -> dict:
        """Parameters as a JSON-able dict, saved under `attribution/<label>.json`."""

    @abc.abstractmethod
    def load(self, parameters: dict) -> None:
        """Takes parameters that `fit` returned, now or in an earlier run."""


def checked_credit(name: str, mechanism: Mechanism, journeys: Journeys) -> np.ndarray:
    """Credits of a mechanism that may be anybody's, once they are what `Mechanism.credit` promises.

    Raises:
        MalTfError: they are not, or the mechanism failed.
    """
    with named(name, "credit"):
        credit = np.asarray(mechanism.credit(journeys))
        expected = "one finite number ≥ 0 per touch, at most 1 in total per journey"
        if credit.shape != journeys.click.shape:
            raise MalTfError(f"expected {expected}: {journeys.click.size:,} numbers, found shape {credit.shape}")
        total = np.bincount(journeys.owner, credit, len(journeys))
        # NaN fails every comparison.
        bad = ~((credit >= 0) & (total <= 1 + 1e-9)[journeys.owner])
        if bad.any():
            worst = int(np.flatnonzero(bad)[0])
            raise MalTfError(
                f"expected {expected}; found {credit[worst]:g} in a journey of {total[journeys.owner[worst]]:g} in total"
            )
    return credit


@contextlib.contextmanager
def named(name: str, method: str) -> Iterator[None]:
    """Turns whatever a mechanism raises into a message that names it."""
    try:
        yield
    except MalTfError as error:
        raise MalTfError(f"attribution mechanism '{name}', {method}: {error}") from error
    except Exception as error:
        raise MalTfError(f"attribution mechanism '{name}', {method}: {type(error).__name__}: {error}") from error
