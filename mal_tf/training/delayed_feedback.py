"""Training on clicks whose window has not closed: as if their labels were final, or weighted so that the delay cancels out.

The weights are those of DEFER (Gu et al., "Real Negatives Matter", KDD 2021, arXiv 2104.14121), which follows ES-DFM (Yang
et al., AAAI 2021, arXiv 2012.03245): every click is trained on twice, as known at the end of its UTC day, and with its final
label when its window has closed. There a model says how probable it is that a conversion is still to come; here that is
measured, by mechanism and hour of the click (`DelayCurve`), and taken to be the same for all clicks of an hour.

Labels are credits l in [0, 1], linear in the loss, and only grow. Let p = E[l | x], d the share of it that is not yet known
at the end of the day, k the label known then: E[k | x] = (1 − d)·p. The two copies together have as positives

    q = (E[k | x] + E[l | x]) / 2 = (1 − d/2)·p,    as negatives 1 − q = (1 − p) + p·d/2,

in the place of p and 1 − p. So with the importance weights

    w⁺ = p / q = 1 / (1 − d/2),    w⁻ = (1 − p) / (1 − q) = (1 − p) / ((1 − p) + p·d/2)

on −log f and −log(1 − f), f being the prediction, the expected loss of a copy is that of the final labels: p·(−log f) + (1 −
p)·(−log(1 − f)). p is not known: w⁻ has f in its place, without gradient. By the logit of f the expected gradient is then

    −w⁺·q·(1 − f) + w⁻(f)·(1 − q)·f = w⁻(f)·(f − p)

(put both over the denominator (1 − f) + f·d/2). The final labels' own is f − p: the same sign everywhere, 0 at f = p alone,
and a factor w⁻(f) in (0, 1], which for small f is close to 1. Clicks of a mechanism with other delays than their hour's mean
are what this does not see; nor does it see labels that shrink, as those of a data-driven mechanism fitted anew may.
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
from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR

#: Buckets of a curve: hours of the UTC day.
HOURS = 24

#: Among the labels of a batch: 1 for clicks that train the heads of the mechanisms, mature or not. No mechanism is called so.
COUNTS = "/counts"

_EPOCH = datetime.date(1970, 1, 1)

#: Parts that users are spread over by `waits`.
_BUCKETS = 1000

_Sums = Annotated[list[pydantic.NonNegativeFloat], pydantic.Field(min_length=HOURS, max_length=HOURS)]


def unknown_key(target: str) -> str:
    """What d of a target is called among the labels of a batch. No mechanism is called so."""
    return f"{target}/unknown"


def waits(user: tf.Tensor, share: float) -> tf.Tensor:
    """Users whose clicks don't train before their labels are final, so that models can be judged on clicks they have not seen.

    Always the same users, by a hash of their ids that is the same everywhere (FarmHash). A larger share has all users of a
    smaller one.

    Args:
        user: ids, string [batch].
        share: of the users, to a thousandth.

    Returns:
        bool [batch].
    """
    return tf.strings.to_hash_bucket_fast(user, _BUCKETS) < round(share * _BUCKETS)


class DelayCurve(Frozen):
    """How much of the final credit is known at the end of the click's day, by the hour of the click.

    Attributes:
        known: Σ labels as known at the end of the clicks' UTC day, 24 sums by the hour of the click, by mechanism.
        final: Σ final labels of the same clicks.
    """

    known: dict[str, _Sums]
    final: dict[str, _Sums]

    @pydantic.model_validator(mode="after")
    def _alike(self):
        if self.known.keys() != self.final.keys():
            raise ValueError(f"known has {', '.join(self.known)}; final has {', '.join(self.final)}; expected the same")
        return self

    def merged(self, other: "DelayCurve") -> "DelayCurve":
        """The curve of both's clicks together; both have the same mechanisms."""
        return DelayCurve(known=_added(self.known, other.known), final=_added(self.final, other.final))

    def measures(self, mechanism: str) -> bool:
        """Whether there is credit of a mechanism, without which its delay is not known."""
        return sum(self.final.get(mechanism, ())) > 0

    def unknown(self, mechanism: str) -> np.ndarray:
        """d: the share of the final credit that is not known yet, by the hour of the click: float64 [24] in [0, 1].

        An hour counts as having one credit more, with the share of all hours: hours without credit have that share.

        Raises:
            MalTfError: no such mechanism, or no credit at all.
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
    """How clicks whose window has not closed train."""

    def of_batch(self, labels: dict[str, tf.Tensor], timestamp: tf.Tensor, user: tf.Tensor) -> dict[str, tf.Tensor]:
        """The labels that the training step sees (see `mal_tf.training.trainer.Trainer.head_losses`).

        Args:
            labels: by target, float [batch], and `mature`, int64 [batch].
            timestamp: int64 [batch], time units since 1970.
            user: ids, string [batch].
        """


@dataclasses.dataclass(frozen=True)
class AsFinal:
    """Immature clicks train as if the labels known were final: the delay is ignored, and conversions still to come are lost."""

    def of_batch(self, labels: dict[str, tf.Tensor], timestamp: tf.Tensor, user: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Immature`."""
        return labels | {"mature": tf.ones_like(labels["mature"])}


@dataclasses.dataclass(frozen=True)
class DelayedFeedback:
    """Clicks train twice and weighted, as the module says.

    The heads of the mechanisms train on all copies. The CAT head trains on final labels alone: its class changes while
    conversions arrive, from any class to any that has more bits, for which there are no weights of this kind.

    Attributes:
        curve: how much is known at the end of the day.
        twice: UTC days whose clicks are trained on both when fresh and when mature, in one training or in one and a later
            that starts from it. Clicks of other days train if mature, unweighted: they come once.
        units_per_second: of the timestamps.
        waiting: share of the users whose clicks come once, when mature, on all days (see `waits`).
    """

    curve: DelayCurve
    twice: Sequence[datetime.date]
    units_per_second: int = 1
    waiting: float = 0.0

    def of_batch(self, labels: dict[str, tf.Tensor], timestamp: tf.Tensor, user: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Immature`."""
        day, hour = (
            tf.constant(seconds * self.units_per_second, tf.int64) for seconds in (SECONDS_PER_DAY, SECONDS_PER_HOUR)
        )
        days = tf.constant([(date - _EPOCH).days for date in self.twice], tf.int64)
        twice = tf.reduce_any((timestamp // day)[:, tf.newaxis] == days, axis=1) & ~waits(user, self.waiting)
        found = {COUNTS: tf.cast(twice | (labels["mature"] > 0), tf.float32)}
        for target in [name for name in labels if name != "mature"]:
            share = tf.gather(tf.constant(self.curve.unknown(target), tf.float32), timestamp % day // hour)
            found[unknown_key(target)] = tf.where(twice, share, 0)
        return labels | found


def reweighted(label: tf.Tensor, unknown: tf.Tensor, logit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Importance weights, as the target and the weight of a binary cross-entropy.

    weight · (−target·log f − (1 − target)·log(1 − f)) = −l·w⁺·log f − (1 − l)·w⁻·log(1 − f), see the module.

    Args:
        label: l, known or final, float [batch].
        unknown: d, float [batch].
        logit: of f, float [batch].

    Returns:
        target and weight, float [batch], without gradient.
    """
    positive = label / (1 - unknown / 2)
    # w⁻ = 1 / (1 + e^logit · d/2), so written that no logit makes it overflow; log 0 gives w⁻ = 1.
    negative = (1 - label) * tf.sigmoid(-tf.stop_gradient(logit) - tf.math.log(unknown / 2))
    weight = positive + negative
    return tf.math.divide_no_nan(positive, weight), weight
