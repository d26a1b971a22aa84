"""Numbers as the page writes them. What is not known is a dash."""

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from mal_tf.evaluation.metrics import registered_metrics

DASH = "–"

#: What a hollow dot of `plots.forest` says.
HOLLOW = "hollow where the interval holds 0 or too few users allow none"


def integer(value: float | None) -> str:
    """A count, with separators."""
    return f"{value:,.0f}" if _known(value) else DASH


def number(value: float | None, digits: int = 4) -> str:
    """A number of so many decimals."""
    return f"{value:.{digits}f}" if _known(value) else DASH


def general(value: float | None) -> str:
    """A number of any size, of four digits; whole ones with separators."""
    if not _known(value):
        return DASH
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 10_000 else f"{value:.4g}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return f"{100 * share:.{digits}f}%" if _known(share) else DASH


def title(name: str) -> str:
    """What a metric is called in print; its name if it is not registered."""
    metrics = registered_metrics()
    return metrics[name].title if name in metrics else name


def metric(name: str, value: float | None) -> str:
    """A metric's value."""
    metrics = registered_metrics()
    return number(value, metrics[name].digits if name in metrics else 4)


def difference(value: float | None, digits: int = 4) -> str:
    """A number with its sign, minus as a minus."""
    return f"{value:+.{digits}f}".replace("-", "−") if _known(value) else DASH


def interval(limits: Mapping[str, Any], digits: int = 4) -> str:
    """Both ends of `{"low", "high"}`."""
    ends = limits.get("low"), limits.get("high")
    return " … ".join(difference(end, digits) for end in ends) if all(map(_known, ends)) else DASH


def span(limits: Mapping[str, Any], name: str) -> str:
    """Both ends of a metric's `{"low", "high"}`."""
    ends = limits.get("low"), limits.get("high")
    return " … ".join(metric(name, end) for end in ends) if all(map(_known, ends)) else DASH


def with_interval(result: Mapping[str, Any]) -> str:
    """A difference, and its interval in brackets."""
    return f"{difference(result.get('difference'))} ({interval(result)})"


def size(count: float) -> str:
    """Bytes, by 1024."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
