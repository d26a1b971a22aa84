"""Training on clicks whose window has not closed, as if their labels were final or with weights that correct for the delay.

The weights are those of DEFER (Gu et al., "Real Negatives Matter", KDD 2021, arXiv 2104.14121), which follows ES-DFM (Yang
et al., AAAI 2021, arXiv 2012.03245). Every click is trained on twice, with the label known at the end of its UTC day, and
with its final label when its window has closed. DEFER predicts the probability that a conversion is still to come by a model.
Here it is measured by mechanism and hour of the click (`DelayCurve`), and assumed equal for all clicks of an hour.

Labels are credits l in [0, 1], enter the loss linearly, and only grow. Let p = E[l | x], d the share of it that is not yet
known at the end of the day, and k the label known then: E[k | x] = (1 − d)·p. The two copies together have the positive and
negative shares

    q = (E[k | x] + E[l | x]) / 2 = (1 − d/2)·p,    1 − q = (1 − p) + p·d/2,

instead of p and 1 − p. With the importance weights

    w⁺ = p / q = 1 / (1 − d/2),    w⁻ = (1 − p) / (1 − q) = (1 − p) / ((1 − p) + p·d/2)

on −log f and −log(1 − f), f being the prediction, the expected loss of a copy is that of the final labels, p·(−log f) + (1 −
p)·(−log(1 − f)). Since p is not known, w⁻ uses f instead, without gradient. The expected gradient by the logit of f is then

    −w⁺·q·(1 − f) + w⁻(f)·(1 − q)·f = w⁻(f)·(f − p)

(with the common denominator (1 − f) + f·d/2). The gradient of the final labels is f − p. The two have the same sign
everywhere, are 0 only at f = p, and differ by a factor w⁻(f) in (0, 1], which is close to 1 for small f. The method does not
account for clicks whose delays differ from the mean of their hour, nor for labels that shrink, as those of a refitted
data-driven mechanism may.
"""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol

import numpy as np
import pydantic

from features.errors import MalTfError
from features.frozen import Frozen
from features.keras2 import tf
from features.table import EPOCH
from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR

#: Number of hours in a delay curve, those of the UTC day.
HOURS = 24

#: Key in the labels of a batch whose value is 1 for clicks that train the heads of mechanisms, mature or not. No mechanism can
#: have this name.
COUNTS = "/counts"

#: Hash buckets of users in `waits`.
_BUCKETS = 1000

_Sums = Annotated[list[pydantic.NonNegativeFloat], pydantic.Field(min_length=HOURS, max_length=HOURS)]


def unknown_key(target: str) -> str:
    """Key of d of a target in the labels of a batch. No mechanism can have this name."""
    return f"{target}/unknown"


def waits(user: tf.Tensor, share: float) -> tf.Tensor:
    """Selects users whose clicks are trained on only when final, so that models can be judged on clicks they have not seen.

    The selection is determined by a platform-independent hash of the user ids (FarmHash). A larger share includes all users
    of a smaller one.

    Args:
        user: ids of users, string [batch].
        share: share of the users, from 0 to 1, in steps of a thousandth.

    Returns:
        bool [batch].
    """
    return tf.strings.to_hash_bucket_fast(user, _BUCKETS) < round(share * _BUCKETS)


class DelayCurve(Frozen):
    """Share of the final credit that is known at the end of the click's day, by the hour of the click.

    Attributes:
        known: Σ labels known at the end of the clicks' UTC day, 24 sums by the hour of the click, by mechanism.
        final: Σ final labels of the same clicks, likewise.
    """

    known: dict[str, _Sums]
    final: dict[str, _Sums]

    @pydantic.model_validator(mode="after")
    def _alike(self):
        if self.known.keys() != self.final.keys():
            raise ValueError(f"known has {', '.join(self.known)}; final has {', '.join(self.final)}; expected the same")
        return self

    def merged(self, other: "DelayCurve") -> "DelayCurve":
        """The curve of the clicks of both, which must have the same mechanisms."""
        return DelayCurve(known=_added(self.known, other.known), final=_added(self.final, other.final))

    def measures(self, mechanism: str) -> bool:
        """Whether there is credit of a mechanism, from which its delay can be measured."""
        return sum(self.final.get(mechanism, ())) > 0

    def unknown(self, mechanism: str) -> np.ndarray:
        """Share d of the final credit that is not known at the end of the day, by the hour of the click: float64 [24] in [0, 1].

        The shares are smoothed by one additional credit per hour with the share of all hours.

        Raises:
            MalTfError: there is no credit of the mechanism.
        """
        if not self.measures(mechanism):
            raise MalTfError(
                f"delayed feedback: expected credit of mechanism '{mechanism}' among the clicks that the delay is measured on, "
                f"found none (mechanisms: {', '.join(self.final)}). Measure it on more days."
            )
        known, final = np.array(self.known[mechanism]), np.array(self.final[mechanism])
        return np.clip(1 - (known + known.sum() / final.sum()) / (final + 1), 0, 1)


def _added(own: Mapping[str, list[float]], theirs: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {name: np.add(sums, theirs[name]).tolist() for name, sums in own.items()}


class Immature(Protocol):
    """How clicks whose window has not closed are trained on."""

    def training_labels(
        self, labels: dict[str, tf.Tensor], timestamp: tf.Tensor, user: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Converts the labels of a batch to those of the training step (`mal_tf.training.trainer.Trainer.head_losses`).

        Args:
            labels: labels by target, float [batch], and `mature`, int64 [batch].
            timestamp: int64 [batch], time units since 1970.
            user: ids of users, string [batch].
        """


@dataclasses.dataclass(frozen=True)
class AsFinal:
    """Trains on immature clicks as if the labels known were final, so that conversions still to come are lost."""

    def training_labels(
        self, labels: dict[str, tf.Tensor], timestamp: tf.Tensor, user: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """See `Immature`."""
        return labels | {"mature": tf.ones_like(labels["mature"])}


@dataclasses.dataclass(frozen=True)
class DelayedFeedback:
    """Trains on clicks twice, with the importance weights that the module describes.

    The heads of the mechanisms are trained on both copies of a click. The CAT head is trained on final labels only, because
    its class changes as conversions arrive, for which there are no such weights.

    Attributes:
        curve: share of the credit that is known at the end of the day.
        twice: UTC days whose clicks are trained on both when fresh and when mature, in one training or in a training and a
            later one that starts from it. Clicks of other days are trained on once, when mature, without weights.
        units_per_second: time units per second of the timestamps.
        waiting: share of the users whose clicks are trained on once, when mature, on all days (see `waits`).
    """

    curve: DelayCurve
    twice: Sequence[datetime.date]
    units_per_second: int = 1
    waiting: float = 0.0

    def training_labels(
        self, labels: dict[str, tf.Tensor], timestamp: tf.Tensor, user: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """See `Immature`."""
        day, hour = (
            tf.constant(seconds * self.units_per_second, tf.int64) for seconds in (SECONDS_PER_DAY, SECONDS_PER_HOUR)
        )
        days = tf.constant([(date - EPOCH).days for date in self.twice], tf.int64)
        twice = tf.reduce_any((timestamp // day)[:, tf.newaxis] == days, axis=1) & ~waits(user, self.waiting)
        added = {COUNTS: tf.cast(twice | (labels["mature"] > 0), tf.float32)}
        for target in [name for name in labels if name != "mature"]:
            share = tf.gather(tf.constant(self.curve.unknown(target), tf.float32), timestamp % day // hour)
            added[unknown_key(target)] = tf.where(twice, share, 0)
        return labels | added


def reweighted(label: tf.Tensor, unknown: tf.Tensor, logit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Expresses the importance weights as the target and the weight of a binary cross-entropy.

    weight · (−target·log f − (1 − target)·log(1 − f)) = −l·w⁺·log f − (1 − l)·w⁻·log(1 − f), see the module.

    Args:
        label: l, known or final, float [batch].
        unknown: d, float [batch].
        logit: logit of f, float [batch].

    Returns:
        Target and weight, float [batch], without gradient.
    """
    positive = label / (1 - unknown / 2)
    # w⁻ = 1 / (1 + e^logit · d/2), in a form that does not overflow for any logit; log 0 gives w⁻ = 1.
    negative = (1 - label) * tf.sigmoid(-tf.stop_gradient(logit) - tf.math.log(unknown / 2))
    weight = positive + negative
    return tf.math.divide_no_nan(positive, weight), weight
