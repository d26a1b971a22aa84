"""Exact counts of labels, which add up: of a file, of a split, of several days."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mal_tf.attribution.labels import cat_label

#: Credits are summed as integers of this fraction, so that the sum is exact in any order.
CREDIT_UNIT = 2.0**-24


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """Counts of the labels of some mature clicks.

    Attributes:
        clicks: how many clicks.
        positives: clicks with a label above 0, by mechanism.
        credit: Σ label, by mechanism; a multiple of `CREDIT_UNIT`.
        cat_classes: clicks by CAT class, of the mechanisms in the order of `positives`; classes without clicks are left out.

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
        """Counts labels: float [C] by mechanism, in configured order."""
        classes, clicks = np.unique(cat_label(labels), return_counts=True)
        return cls(
            int(clicks.sum()),
            {name: int((label > 0).sum()) for name, label in labels.items()},
            {name: credit_units(label) * CREDIT_UNIT for name, label in labels.items()},
            dict(zip(classes.tolist(), clicks.tolist(), strict=True)),
        )

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        if tuple(self.positives) != tuple(other.positives):
            raise ValueError(f"counts of other mechanisms: {', '.join(self.positives)}; {', '.join(other.positives)}")
        return LabelCounts(
            self.clicks + other.clicks,
            {name: count + other.positives[name] for name, count in self.positives.items()},
            {name: credit + other.credit[name] for name, credit in self.credit.items()},
            dict(sorted((Counter(self.cat_classes) + Counter(other.cat_classes)).items())),
        )

    def cat_classes_of(self, targets: Sequence[str]) -> dict[int, int]:
        """Clicks by CAT class of some of the mechanisms, in the order of `targets`."""
        bits = [list(self.positives).index(name) for name in targets]
        found: Counter = Counter()
        for cat_class, clicks in self.cat_classes.items():
            found[sum((cat_class >> bit & 1) << place for place, bit in enumerate(bits))] += clicks
        return dict(sorted(found.items()))

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return dataclasses.asdict(self) | {"cat_classes": {str(key): n for key, n in self.cat_classes.items()}}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "LabelCounts":
        """From a manifest."""
        return cls(**dict(fields) | {"cat_classes": {int(key): n for key, n in fields["cat_classes"].items()}})


def credit_units(label: np.ndarray) -> int:
    """Σ label in units of `CREDIT_UNIT`."""
    return int(np.rint(label.astype(np.float64) / CREDIT_UNIT).sum())


def total(parts: Iterable[LabelCounts]) -> LabelCounts | None:
    """Counts of all parts together; None if there is none."""
    found = None
    for part in parts:
        found = part if found is None else found + part
    return found
