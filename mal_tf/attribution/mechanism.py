"""The attribution mechanism: the one interface, and the registry that finds mechanisms by name."""

import abc
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from features.errors import MalTfError
from mal_tf.attribution.journeys import Journeys

_REGISTRY: dict[str, type["Mechanism"]] = {}


class Mechanism(abc.ABC):
    """A rule that gives each touch of a converting journey a credit ≥ 0, in total at most 1 per journey."""

    #: Whether `fit` must be called with statistics of all journeys before `credit`.
    data_driven = False

    @abc.abstractmethod
    def credit(self, journeys: Journeys) -> np.ndarray:
        """Credits of converting journeys: float64 [T], ≥ 0, in total at most 1 per journey."""


class DataDrivenMechanism(Mechanism):
    """A mechanism whose parameters are fitted on converting and other journeys.

    Statistics of parts of the data are made where the data is, merged in any order, and turned into parameters once.
    """

    data_driven = True

    @abc.abstractmethod
    def statistics(self, converting: Journeys, other: Journeys) -> Any:
        """Sufficient statistics of one part of the data; must pickle and merge exactly (integer counts)."""

    @abc.abstractmethod
    def merge(self, parts: Iterable[Any]) -> Any:
        """Statistics of all parts together, whatever their order; of no part: the empty statistics."""

    @abc.abstractmethod
    def fit(self, statistics: Any) -> dict:
        """Parameters as a JSON-able dict, saved under `attribution/<label>.json`."""

    @abc.abstractmethod
    def load(self, parameters: dict) -> None:
        """Takes parameters that `fit` returned, now or in an earlier run."""


def register(name: str) -> Callable[[type[Mechanism]], type[Mechanism]]:
    """Class decorator that makes a mechanism available to configs as `type: name`."""

    def add(cls: type[Mechanism]) -> type[Mechanism]:
        if name in _REGISTRY:
            raise MalTfError(f"attribution mechanism '{name}' is registered twice: {_REGISTRY[name]} and {cls}")
        _REGISTRY[name] = cls
        return cls

    return add


def create(name: str, parameters: dict) -> Mechanism:
    """Makes the mechanism registered as `name` with its configured parameters.

    Raises:
        MalTfError: no such mechanism, or it does not take these parameters.
    """
    if name not in _REGISTRY:
        raise MalTfError(f"unknown attribution mechanism '{name}'; known: {', '.join(sorted(_REGISTRY))}")
    try:
        return _REGISTRY[name](**parameters)
    except TypeError as error:
        raise MalTfError(f"attribution mechanism '{name}' does not take these parameters: {error}") from error
