"""Formats numbers for the page. An unknown value is a dash."""

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from mal_tf.evaluation.judgement import detectable, reading
from mal_tf.evaluation.metrics import Gauc, registered_metrics

DASH = "–"

#: A difference in GAUC that is worth having, about what multi-attribution learning gained offline (arXiv 2508.15217).
WORTHWHILE = 0.005

#: Explanation of the hollow dots of `plots.forest`.
HOLLOW = "hollow where the interval holds 0 or too few users allow none"


def integer(value: float | None) -> str:
    """Format a count with thousands separators."""
    return f"{value:,.0f}" if _is_number(value) else DASH


def number(value: float | None, digits: int = 4) -> str:
    """Format a number with `digits` decimals."""
    return f"{value:.{digits}f}" if _is_number(value) else DASH


def general(value: float | None) -> str:
    """Format a number of any size with four significant digits; integers and large numbers with thousands separators."""
    if not _is_number(value):
        return DASH
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 10_000 else f"{value:.4g}"


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share as a percentage."""
    return f"{100 * share:.{digits}f}%" if _is_number(share) else DASH


def title(name: str) -> str:
    """Return the display name of a metric; its plain name if it is not registered."""
    metrics = registered_metrics()
    return metrics[name].title if name in metrics else name


def metric(name: str, value: float | None) -> str:
    """Format a metric's value with the metric's number of decimals."""
    metrics = registered_metrics()
    return number(value, metrics[name].digits if name in metrics else 4)


def difference(value: float | None, digits: int = 4) -> str:
    """Format a number with its sign, with a typographic minus."""
    return f"{value:+.{digits}f}".replace("-", "−") if _is_number(value) else DASH


def interval(limits: Mapping[str, Any], digits: int = 4) -> str:
    """Format both ends of an interval of differences, given as `{"low", "high"}`."""
    ends = limits.get("low"), limits.get("high")
    return " … ".join(difference(end, digits) for end in ends) if all(map(_is_number, ends)) else DASH


def span(limits: Mapping[str, Any], name: str) -> str:
    """Format both ends of a metric's interval, given as `{"low", "high"}`."""
    ends = limits.get("low"), limits.get("high")
    return " … ".join(metric(name, end) for end in ends) if all(map(_is_number, ends)) else DASH


def with_interval(result: Mapping[str, Any]) -> str:
    """Format a difference, followed by its interval in brackets."""
    return f"{difference(result.get('difference'))} ({interval(result)})"


def power(by_metric: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how large a true difference in GAUC had to be to be shown, and how many users would show `WORTHWHILE`.

    Args:
        by_metric: differences by metric, with `low` and `high`.

    Returns:
        One sentence; an empty string if the difference in GAUC is shown or has no interval.
    """
    gauc = by_metric.get(Gauc.name, {})
    smallest = detectable(gauc)
    if smallest is None or reading(Gauc.name, gauc) in (("better", True), ("worse", True)):
        return ""
    sentence = (
        f"With this many users, a true difference in {Gauc.title} of {number(smallest)} is shown in four of five cases"
    )
    if smallest <= WORTHWHILE:
        return f"{sentence}."
    times = general(float(f"{(smallest / WORTHWHILE) ** 2:.2g}"))
    return f"{sentence}; one of {WORTHWHILE:g} takes about {times} times as many."


def size(count: float) -> str:
    """Format a number of bytes in binary units, such as KiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
