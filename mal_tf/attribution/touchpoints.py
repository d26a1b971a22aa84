"""Touchpoint types, the channels of data-driven attribution, from click columns and from the position in the journey."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pydantic

from features.frozen import Frozen

#: Name of the type that replaces rare ones.
RARE = "(rare)"

#: Joins the parts of the name of a derived type.
_SEPARATOR = "|"


class TouchpointConfig(Frozen):
    """How touchpoint types are derived from the click table's `touchpoint` columns.

    Attributes:
        min_count: types with fewer clicks before `labels.eval_from` fold into one, `(rare)`.
        max_types: number of most frequent types to keep; the others fold into `(rare)` too.
        recency_hours: ascending boundaries. If given, the type gets a part for the hours from the click to the end of its
            journey (the conversion or, without one, the last click): `<1h`, `1-24h`, `>=24h` for `[1, 24]`.
        position: whether the type gets a part for the position in the journey: `only`, `first`, `middle`, `last`.

    Example:
        >>> import mal_tf
        >>> mal_tf.TouchpointConfig(recency_hours=[1, 24], position=True).recency_hours
        (1.0, 24.0)
    """

    min_count: int = pydantic.Field(1, ge=1)
    max_types: int = pydantic.Field(1000, ge=1)
    recency_hours: tuple[float, ...] = ()
    position: bool = False

    @pydantic.field_validator("recency_hours")
    @classmethod
    def _ascending(cls, hours):
        if list(hours) != sorted(set(hours)) or any(h <= 0 for h in hours):
            raise ValueError(f"expected ascending positive hours, found {list(hours)}")
        return hours


@dataclasses.dataclass(frozen=True)
class Touchpoints:
    """Names of the types from the touchpoint column, and the parts that are derived from the journey.

    Attributes:
        names: object [K].
        recency_hours: see `TouchpointConfig`.
        position: see `TouchpointConfig`.
    """

    names: np.ndarray
    recency_hours: Sequence[float] = ()
    position: bool = False

    def derive(self, codes: np.ndarray, offsets: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derives the types of the touches of journeys.

        Args:
            codes: int64 [T], types from the touchpoint column.
            offsets: int64 [J + 1], index of the first touch of each journey, then T.
            age: float64 [T], hours to the end of the journey.

        Returns:
            int64 [T] codes and object [K'] names of the types with their derived parts.
        """
        parts, places = [self.names], [codes]
        if self.recency_hours:
            places.append(np.searchsorted(self.recency_hours, age, side="right"))
            parts.append(_recency_names(self.recency_hours))
        if self.position:
            places.append(_position(codes.size, offsets))
            parts.append(np.array(["only", "first", "middle", "last"], object))
        if len(parts) == 1:
            return codes, self.names
        used, touchpoint = np.unique(np.ravel_multi_index(places, [p.size for p in parts]), return_inverse=True)
        names = [p[i] for p, i in zip(parts, np.unravel_index(used, [p.size for p in parts]), strict=True)]
        joined = names[0]
        for part in names[1:]:
            joined = joined + _SEPARATOR + part
        return touchpoint, joined


def fold(names: np.ndarray, codes: np.ndarray, kept: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Replaces all types except the `kept` ones by `RARE`.

    Args:
        names: object [K], all different.
        codes: int64 [C], indices into `names`.
        kept: names that stay.

    Returns:
        object [K'] names and int64 [C] codes.
    """
    is_kept = np.isin(names, np.array([*kept, RARE], object))
    new_code = np.where(is_kept, np.cumsum(is_kept) - 1, is_kept.sum())
    if is_kept.all():
        return names, codes
    rare = np.flatnonzero(names[is_kept] == RARE)
    if rare.size:
        return names[is_kept], np.where(is_kept, new_code, rare[0])[codes]
    return np.append(names[is_kept], RARE), new_code[codes]


def _recency_names(hours: Sequence[float]) -> np.ndarray:
    between = [f"{low:g}-{high:g}h" for low, high in zip(hours[:-1], hours[1:], strict=True)]
    return np.array([f"<{hours[0]:g}h", *between, f">={hours[-1]:g}h"], object)


def _position(touches: int, offsets: np.ndarray) -> np.ndarray:
    """Position of each touch in its journey: 0 only, 1 first, 2 middle, 3 last."""
    filled = np.diff(offsets) > 0
    first, last = offsets[:-1][filled], offsets[1:][filled] - 1
    position = np.full(touches, 2)
    position[last] = 3
    position[first] = np.where(first == last, 0, 1)
    return position
