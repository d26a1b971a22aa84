"""Base classes of attribution mechanisms: rules, and data-driven mechanisms that are fitted."""

import abc
import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from features.errors import MalTfError, named_errors
from mal_tf.attribution.journeys import Journeys

#: Position of a click in a converting journey. The only click of a journey is both its first and its last.
FIRST, MIDDLE, LAST = POSITIONS = ("first", "middle", "last")


class Mechanism(abc.ABC):
    """A rule that gives each touch of a converting journey a credit ≥ 0, in total at most 1 per journey.

    The arguments of the constructor are its parameters. The constructor raises ValueError or TypeError for bad ones.

    Example:
        >>> import numpy as np
        >>> import mal_tf
        >>> class LongJourneys(mal_tf.Mechanism):
        ...     def credit(self, journeys):
        ...         return ((journeys.lengths > 2) / np.maximum(journeys.lengths, 1))[journeys.owner]
    """

    #: Whether `load` must be called with fitted parameters before `credit`.
    data_driven = False

    #: Positions outside of which no click gets credit, and positions whose clicks get credit in every journey.
    may_credit: frozenset[str] = frozenset(POSITIONS)
    always_credits: frozenset[str] = frozenset()

    @abc.abstractmethod
    def credit(self, journeys: Journeys) -> np.ndarray:
        """Credits of the touches of converting journeys: float64 [T], ≥ 0, in total at most 1 per journey.

        The credits of a journey must depend on that journey alone, because journeys come in blocks of arbitrary size.
        """


class DataDrivenMechanism(Mechanism):
    """A mechanism whose parameters are fitted on converting and other journeys.

    Statistics are computed on each part of the data, merged in any order, and turned into parameters once.

    Example:
        >>> from collections import Counter
        >>> import numpy as np
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
        """Sufficient statistics of one part of the data, which can be pickled and merge exactly (integer counts, samples).

        Parts may be split anywhere between journeys, and either argument may be empty.
        """

    @abc.abstractmethod
    def merge(self, parts: Iterable[Any]) -> Any:
        """Merges the statistics of parts, whatever their order. Without parts, returns empty statistics."""

    @abc.abstractmethod
    def fit(self, statistics: Any) -> dict:
        """Fits the parameters and returns them as a JSON-serializable dict, saved as `attribution/<label>.json`."""

    @abc.abstractmethod
    def load(self, parameters: dict) -> None:
        """Sets parameters that `fit` returned, now or in an earlier run."""


def checked_credit(name: str, mechanism: Mechanism, journeys: Journeys) -> np.ndarray:
    """Computes the credits of a mechanism and checks that they satisfy the contract of `Mechanism.credit`.

    Raises:
        MalTfError: the credits violate the contract, or the mechanism failed.
    """
    with mechanism_errors(name, "credit"):
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


def mechanism_errors(name: str, method: str) -> contextlib.AbstractContextManager[None]:
    """Context manager that turns exceptions raised within into a MalTfError that names the mechanism and its method."""
    return named_errors(f"attribution mechanism '{name}', {method}")
