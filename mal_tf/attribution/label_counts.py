"""Exact counts of labels, which can be added up over files, splits and days."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mal_tf.attribution.labels import cat_label

#: Unit in which credits are summed as integers, so that sums are exact in any order.
CREDIT_UNIT = 2.0**-24

#: The same for the credit of all touches, which is not rounded to the float32 of labels: sums show that none is lost.
TOUCH_CREDIT_UNIT = 2.0**-40


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """Counts of the labels of mature clicks.

    Attributes:
        clicks: number of clicks.
        positives: number of clicks with a label above 0, by mechanism.
        credit: Σ label by mechanism, a multiple of `CREDIT_UNIT`.
        cat_classes: number of clicks by CAT class, with the mechanisms in the order of `positives`; only classes with clicks.

    Example:
        >>> counts = LabelCounts.count({"last": np.array([1.0, 0.0, 0.0]), "linear": np.array([0.5, 0.5, 0.0])})
        >>> counts.positives, counts.credit, counts.cat_classes
        ({'last': 1, 'linear': 2}, {'last': 1.0, 'linear': 1.0}, {0: 1, 2: 1, 3: 1})
        >>> (counts + counts).clicks
        6
    """

    clicks: int
    positives: Mapping[str, int]
    credit: Mapping[str, float]
    cat_classes: Mapping[int, int]

    @classmethod
    def count(cls, labels: Mapping[str, np.ndarray]) -> "LabelCounts":
        """Counts labels, given as float [C] by mechanism in configured order."""
        classes, clicks = np.unique(cat_label(labels), return_counts=True)
        return cls(
            int(clicks.sum()),
            {name: int((label > 0).sum()) for name, label in labels.items()},
            {name: credit_units(label) * CREDIT_UNIT for name, label in labels.items()},
            dict(zip(classes.tolist(), clicks.tolist(), strict=True)),
        )

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        if tuple(self.positives) != tuple(other.positives):
            raise ValueError(
                f"expected counts of the same mechanisms, found {', '.join(self.positives)} and {', '.join(other.positives)}"
            )
        return LabelCounts(
            self.clicks + other.clicks,
            {name: count + other.positives[name] for name, count in self.positives.items()},
            {name: credit + other.credit[name] for name, credit in self.credit.items()},
            dict(sorted((Counter(self.cat_classes) + Counter(other.cat_classes)).items())),
        )

    def cat_classes_for(self, targets: Sequence[str]) -> dict[int, int]:
        """Number of clicks by the CAT class that only the mechanisms `targets` make up, in that order."""
        bits = [list(self.positives).index(name) for name in targets]
        by_class: Counter = Counter()
        for cat_class, clicks in self.cat_classes.items():
            by_class[sum((cat_class >> bit & 1) << place for place, bit in enumerate(bits))] += clicks
        return dict(sorted(by_class.items()))

    def to_json(self) -> dict[str, Any]:
        """Fields in the form in which a manifest holds them."""
        return dataclasses.asdict(self) | {"cat_classes": {str(key): n for key, n in self.cat_classes.items()}}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "LabelCounts":
        """Counts from fields that `to_json` returned."""
        return cls(**dict(fields) | {"cat_classes": {int(key): n for key, n in fields["cat_classes"].items()}})


def credit_units(label: np.ndarray, unit: float = CREDIT_UNIT) -> int:
    """Σ label in units of `CREDIT_UNIT`, or another."""
    return int(np.rint(label.astype(np.float64) / unit).astype(np.int64).sum())


def total(parts: Iterable[LabelCounts]) -> LabelCounts | None:
    """Sum of the counts of all parts; None without parts."""
    counts = None
    for part in parts:
        counts = part if counts is None else counts + part
    return counts
