"""Attribution by a sequence model with attention over time. TensorFlow is imported only when it is fitted or used."""

import functools
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from features.errors import MalTfError
from mal_tf.attribution.attention_sample import FIRST_KNOWN, NO_JOURNEYS, Moments, Sample, at_end, coded, draw, merge
from mal_tf.attribution.by_type import FALLBACKS, checked_integer, normalised
from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.mechanism import DataDrivenMechanism

if TYPE_CHECKING:
    from mal_tf.attribution.attention_network import Network

log = logging.getLogger("mal_tf.attribution")

CREDITS, BALANCES = ("leave_one_out", "attention"), ("propensity", "none")

#: Touches that the network scores in one batch, including those of the journeys with one touch removed.
_BATCH_TOUCHES = 1 << 17

#: Smaller contributions are set to 0, because they can't be distinguished from rounding errors.
_MIN_CONTRIBUTION = 1e-3


class Attention(DataDrivenMechanism):
    """Credit by how much the conversion rate would drop without a touch, from a network with attention over time.

    The network (`attention_network.Network`) estimates the conversion rate r at a moment from the touches before it and
    the user. It is trained on moments with and without a conversion (`attention_sample.Moments`).
    contribution_i = 1 − r(journey without i) / r(journey) at the time of conversion, 0 where that is below 0.001;
    credits are normalised per journey.

    Related to DNAMTA (arXiv 1809.02230), CAMTA (arXiv 2012.11403) and CausalMTA (arXiv 2201.00689). Touchpoint types should
    not have parts by recency or position: the network models time itself, and those parts reveal the outcome.

    Args:
        sample: number of journeys to train on, half of them converting if there are enough. Weights restore the share of
            both classes.
        credit: how a touch is removed. `leave_one_out` encodes the other touches anew without it. `attention` removes
            only its term (attention times encoding) from the pool, which is cheaper but neglects its effect on the
            encoding of later touches.
        max_touches: number of a journey's latest touches that are scored; earlier ones get no credit.
        min_count: types with fewer touches in the sample are treated as unknown.
        units: width of the network.
        epochs: passes over the sample.
        learning_rate: initial learning rate of Adam.
        batch_size: journeys per step.
        confounder_buckets: number of hash buckets per user feature.
        balance: `propensity` weights a training journey by the geometric mean of p(type) / p(type | user), within
            0.1 … 10, so that journeys whose types are untypical of their user weigh more. `none` does not. Without
            confounders it has no effect.
        fallback: who gets the credit of a journey without positive contribution: `none`, `linear` or `last`.
        seed: seed of the training.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        sample: int = 200_000,
        credit: str = "leave_one_out",
        max_touches: int = 20,
        min_count: int = 20,
        units: int = 16,
        epochs: int = 5,
        learning_rate: float = 0.01,
        batch_size: int = 1024,
        confounder_buckets: int = 64,
        balance: str = "propensity",
        fallback: str = "none",
        seed: int = 17,
    ):
        for name, choice, options in (
            ("credit", credit, CREDITS),
            ("balance", balance, BALANCES),
            ("fallback", fallback, FALLBACKS),
        ):
            if choice not in options:
                raise ValueError(f"{name} must be {', '.join(options[:-1])} or {options[-1]}, not {choice!r}")
        for name, value, minimum in (
            ("sample", sample, 2),
            ("max_touches", max_touches, 1),
            ("min_count", min_count, 1),
            ("units", units, 1),
            ("epochs", epochs, 1),
            ("batch_size", batch_size, 1),
            ("confounder_buckets", confounder_buckets, 1),
            ("seed", seed, 0),
        ):
            checked_integer(name, value, minimum)
        if not learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {learning_rate!r}")
        self.sample, self._credit, self.max_touches, self.min_count = sample, credit, max_touches, min_count
        self.units, self.epochs, self.learning_rate, self.batch_size = units, epochs, learning_rate, batch_size
        self.confounder_buckets, self.balance, self.fallback, self.seed = confounder_buckets, balance, fallback, seed
        self._parameters: dict = {"weights": []}
        self._network: Network | None = None

    def statistics(self, converting: Journeys, other: Journeys) -> Sample:
        """Draws the journeys with the smallest keys, see `attention_sample.draw`."""
        # Keep twice as many touches as are scored, so that a moment between the latest ones has enough touches before it.
        return draw(converting, other, self.sample // 2, 2 * self.max_touches)

    def merge(self, parts: Iterable[Sample]) -> Sample:
        """See base class."""
        merge_pair = functools.partial(merge, count=self.sample // 2)
        return functools.reduce(merge_pair, parts, self.statistics(NO_JOURNEYS, NO_JOURNEYS))

    def fit(self, statistics: Sample) -> dict:
        """Trains the network on the sample. Journeys whose key ends in 0 are held out to measure it.

        Returns:
            `converting` and `other`, the numbers of journeys with touches; `sampled`, how many of each were used;
            `horizon`, hours of the longest converting journey; `training`, see `attention_network.train`; the size of the
            network and its `weights`. If one class is missing there are no weights, and all contributions are 0.
        """
        sampled = [len(statistics.converting), len(statistics.other)]
        types = statistics.types(self.min_count)
        parameters = {
            "converting": statistics.totals[0],
            "other": statistics.totals[1],
            "sampled": sampled,
            "horizon": statistics.horizon,
            "types": types,
            "confounders": statistics.converting.confounders.shape[1],
            "confounder_buckets": self.confounder_buckets,
            "units": self.units,
            "max_touches": self.max_touches,
            "training": {},
            "weights": [],
        }
        moments = Moments(statistics, types, self.max_touches, self.confounder_buckets)
        held_out = moments.journeys.key % np.uint64(10) == 0
        if not (np.bincount(moments.converted[~held_out], minlength=2).all() and statistics.horizon > 0):
            log.warning("attention: nothing to learn from %d converting and %d other journeys", *sampled)
            return parameters
        from mal_tf.attribution import attention_network

        weights, parameters["training"] = attention_network.train(
            _size(parameters),
            moments,
            held_out,
            self.balance == "propensity" and statistics.converting.confounders.shape[1] > 0,
            attention_network.Schedule(self.epochs, self.learning_rate, self.batch_size, self.seed),
        )
        parameters["weights"] = [weight.tolist() for weight in weights]
        return parameters

    def load(self, parameters: dict) -> None:
        """See base class."""
        self._parameters, self._network = parameters, None

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class.

        Raises:
            MalTfError: the number of confounders differs from that of the fit.
        """
        parameters, columns = self._parameters, journeys.confounders.shape[1]
        contribution = np.zeros(journeys.click.size)
        if parameters["weights"]:
            if columns != parameters["confounders"]:
                raise MalTfError(
                    f"the attention mechanism was fitted with {parameters['confounders']} confounders, found {columns}; "
                    "fit it anew, or configure the same ones"
                )
            encoded = coded(journeys, parameters["types"])
            scored_lengths = np.minimum(journeys.lengths, parameters["max_touches"])
            for length in np.unique(scored_lengths[scored_lengths > 0]):
                same_length = np.flatnonzero(scored_lengths == length)
                for part in np.array_split(same_length, -(-same_length.size * length * (length + 1) // _BATCH_TOUCHES)):
                    rows = at_end(encoded.take(part), length, parameters["horizon"], parameters["confounder_buckets"])
                    lifts = self._scorer().lifts(rows, self._credit == "leave_one_out")
                    contribution[journeys.offsets[part + 1][:, None] - np.arange(length, 0, -1)] = lifts
        return normalised(np.where(contribution > _MIN_CONTRIBUTION, contribution, 0.0), journeys, self.fallback)

    def _scorer(self) -> "Network":
        if self._network is None:
            from mal_tf.attribution import attention_network

            network = attention_network.Network(**_size(self._parameters), dtype="float64")
            network.model.set_weights([np.array(weight) for weight in self._parameters["weights"]])
            self._network = network
        return self._network

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_network": None}


def _size(parameters: dict) -> dict:
    return {
        "types": FIRST_KNOWN + len(parameters["types"]),
        "columns": parameters["confounders"],
        "buckets": parameters["confounder_buckets"],
        "units": parameters["units"],
    }
