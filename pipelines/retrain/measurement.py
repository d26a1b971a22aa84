"""Measurements of the check stage: numbers measured on the data, with their limits."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A number measured on the data, with its limits.

    Attributes:
        where: the data, such as a split or two splits that are compared.
        feature: the column or the table.
        measure: name of the measure.
        value: the measured value.
        low: least normal value; None for no limit.
        high: largest normal value; None for no limit.
    """

    where: str
    feature: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def anomalous(self) -> bool:
        """Whether the value is outside its limits, or not a number."""
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
