"""Markov chain attribution by the removal effect: the share of conversions lost without a touchpoint type.

Source: Anderl, Becker, von Wangenheim and Schumann, "Mapping the customer journey: lessons learned from graph-based
online attribution modeling", IJRM 2016; absorbing chains: Kemeny and Snell, "Finite Markov chains", 1960.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from features.errors import MalTfError
from mal_tf.attribution.by_type import ByType, DistinctTypes, checked_integer
from mal_tf.attribution.journeys import Journeys

#: Largest number of states. Inverting the matrix of so many takes about 10 seconds and half a gigabyte.
MAX_STATES = 4000

#: The last types of a journey so far, oldest first; () at the start, CONVERSION or NULL at the end.
State = tuple[str, ...] | str
CONVERSION, NULL = "conversion", "null"

#: Number of transitions from one state to another.
Statistics = Counter[tuple[State, State]]


class Markov(ByType):
    """Credit by the removal effect of a journey's distinct touchpoint types.

    The chain leads from the start over states, the last ≤ k types, to conversion or null. Its transition probabilities
    are the frequencies in all journeys, where consecutive touches of one type count once. Removing type c redirects all
    transitions into states whose last type is c to null: RE(c) = 1 − P_without(c) / P, P the probability of conversion.

    The solution is exact. With N = (I − Q)^−1 the fundamental matrix over the transient states, x = N r the probability of
    conversion from each (r: in one step), and n the row of N at the start, the expected visits, the states C that end in c
    lose P − P_without(c) = n_C (N_CC)^−1 x_C, since n_C (N_CC)^−1 is the distribution of the first entry into C. For
    k = 1 this is h(c)·x(c), h(c) the probability of ever visiting c. If P = 0, every effect is 0, as is that of a type
    that the fit never saw.

    Args:
        order: number of types in a state, k ≥ 1.
        fallback: who gets the credit of a journey without positive contribution: `none`, `linear` or `last`.
    """

    def __init__(self, order: int = 1, fallback: str = "none"):
        super().__init__(fallback)
        self.order = checked_integer("order", order, 1)
        self._effect: dict[str, float] = {}

    def statistics(self, converting: Journeys, other: Journeys) -> Statistics:
        """Counts transitions. Journeys without touches are left out."""
        return _count(converting, self.order, CONVERSION) + _count(other, self.order, NULL)

    def merge(self, parts: Iterable[Statistics]) -> Statistics:
        """See base class."""
        total: Statistics = Counter()
        for part in parts:
            total.update(part)
        return total

    def fit(self, statistics: Statistics) -> dict:
        """Solves the chain. The transitions are saved for inspection; `credit` needs only the removal effects.

        Raises:
            MalTfError: there are more than `MAX_STATES` states.
        """
        # The end states, which are strings, are sorted after the others.
        rows = sorted(statistics.items(), key=lambda row: (row[0][0], isinstance(row[0][1], str), row[0][1]))
        rate, effects = _solve(rows, self.order)
        return {
            "order": self.order,
            "conversion_rate": rate,
            "removal_effect": effects,
            "transitions": [{"from": before, "to": after, "count": n} for (before, after), n in rows],
        }

    def load(self, parameters: dict) -> None:
        """See base class."""
        self._effect = parameters["removal_effect"]

    def contributions(self, types: DistinctTypes) -> np.ndarray:
        """RE of each distinct (journey, type)."""
        return np.array([self._effect.get(name, 0.0) for name in types.names])[types.type]


def _solve(rows: list[tuple[tuple[State, State], int]], order: int) -> tuple[float, dict[str, float]]:
    """P and RE by type from counted transitions."""
    states = sorted({before for (before, _), _ in rows} | {()})
    if len(states) - 1 > MAX_STATES:
        raise MalTfError(
            f"a Markov chain of order {order} has {len(states) - 1:,} states, at most {MAX_STATES:,} can be solved; lower "
            "`order`, raise `attribution.touchpoint.min_count` or lower `attribution.touchpoint.max_types`"
        )
    code = {state: i for i, state in enumerate(states)} | {CONVERSION: len(states), NULL: len(states) + 1}
    before, after, counts = np.array([(code[a], code[b], n) for (a, b), n in rows], np.int64).reshape(-1, 3).T
    step = np.zeros((len(states), len(states) + 2))
    step[before, after] = counts / np.bincount(before, counts)[before]

    # States that never lead to a conversion are removed, so that they are worth exactly 0 and not a rounding error.
    live, reached = np.arange(len(code)) == code[CONVERSION], 0
    while reached < live.sum():
        reached = live.sum()
        live[before[live[after]]] = True
    live = live[: len(states)]
    effects = dict.fromkeys(sorted({state[-1] for state in states[1:]}), 0.0)
    if not live[0]:
        return 0.0, effects
    fundamental = np.linalg.inv(np.eye(live.sum()) - step[:, : live.size][np.ix_(live, live)])
    visits, conversion = fundamental[0], fundamental @ step[live, code[CONVERSION]]
    last = np.array([state[-1] if state else None for state in states], object)[live]
    for name in effects:
        block = np.flatnonzero(last == name)
        lost = visits[block] @ np.linalg.solve(fundamental[np.ix_(block, block)], conversion[block])
        effects[name] = float(lost / conversion[0])
    return float(conversion[0]), effects


def _count(journeys: Journeys, order: int, end: str) -> Counter:
    """Transitions of journeys that all end in the same state."""
    filled = journeys.lengths > 0
    first = np.zeros(journeys.touchpoint.size, bool)
    first[journeys.offsets[:-1][filled]] = True
    kept = first | np.append(True, np.diff(journeys.touchpoint) != 0)[: first.size]
    # Code 0 stands for positions before the start of the journey.
    types, first = journeys.touchpoint[kept] + 1, np.flatnonzero(first[kept])
    place: np.ndarray = np.arange(types.size) - np.repeat(first, np.diff(np.append(first, types.size)))
    names = [None, *journeys.touchpoints]

    def windows(touch: np.ndarray, width: int) -> Iterator[tuple[tuple[str | None, ...], int]]:
        """Distinct sequences of the last types up to each touch, by name, and how often each occurs."""
        columns = [
            np.where(place[touch] >= back, types[np.maximum(touch - back, 0)], 0) for back in reversed(range(width))
        ]
        code = np.zeros(touch.size, np.int64)
        for column in columns:
            if code.size and int(code.max()) + 1 > 2**62 // len(names):
                code = np.unique(code, return_inverse=True)[1]
            code = code * len(names) + column
        _, first_index, counts = np.unique(code, return_index=True, return_counts=True)
        for row, n in zip(np.stack(columns, axis=1)[first_index].tolist(), counts.tolist(), strict=True):
            yield tuple(names[i] for i in row), n

    def state(window):
        return tuple(name for name in window if name is not None)

    last = np.append(first, types.size)[1:] - 1
    counted = Counter({(state(w[:-1]), state(w[1:])): n for w, n in windows(np.arange(types.size), order + 1)})
    counted.update({(state(w), end): n for w, n in windows(last[: first.size], order)})
    return counted
