"""A number measured on the data, with its limits."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A number measured on the data, with its limits.

    Attributes:
        where: what was looked at.
        feature: the column, or the table.
        measure: what was measured.
        value: of it.
        low: least that is good; None for any.
        high: most that is good; None for any.
    """

    where: str
    feature: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def anomalous(self) -> bool:
        """Whether the value is beyond its limits, or not a number."""
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        return not low <= self.value <= high

    def __str__(self) -> str:
        low, high = _shown(self.low), _shown(self.high)
        if self.low == self.high:
            limits = low or "anything"
        else:
            limits = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}"
        return f"{self.where}, {self.feature}: {self.measure}: {_shown(self.value)}, expected {limits}"


def _shown(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if float(number).is_integer() or abs(number) >= 1000 else f"{number:.4g}"
