"""Numbers as the page writes them. What is not known is a dash."""

import math

from mal_tf.evaluation.metrics import registered_metrics

DASH = "–"

#: What a hollow dot of `plots.forest` says.
HOLLOW = "hollow where the interval holds 0 or too few users allow none"


def integer(value: float | None) -> str:
    """A count, with separators."""
    return DASH if _unknown(value) else f"{value:,.0f}"


def number(value: float | None, digits: int = 4) -> str:
    """A number of so many decimals."""
    return DASH if _unknown(value) else f"{value:.{digits}f}"


def general(value: float | None) -> str:
    """A number of any size, of four digits; whole ones with separators."""
    if _unknown(value):
        return DASH
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 10_000 else f"{value:.4g}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return DASH if _unknown(share) else f"{100 * share:.{digits}f}%"


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
    return DASH if _unknown(value) else f"{value:+.{digits}f}".replace("-", "−")


def interval(limits: dict, digits: int = 4) -> str:
    """Both ends of `{"low", "high"}`."""
    ends = limits.get("low"), limits.get("high")
    return DASH if any(map(_unknown, ends)) else " … ".join(difference(end, digits) for end in ends)


def span(limits: dict, name: str) -> str:
    """Both ends of a metric's `{"low", "high"}`."""
    ends = limits.get("low"), limits.get("high")
    return DASH if any(map(_unknown, ends)) else " … ".join(metric(name, end) for end in ends)


def with_interval(result: dict) -> str:
    """A difference, and its interval in brackets."""
    return f"{difference(result.get('difference'))} ({interval(result)})"


def size(count: int) -> str:
    """Bytes, by 1024."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _unknown(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
