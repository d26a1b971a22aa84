"""Prior biases: every head begins at the log-odds of its target in the training split.

With biases at 0 a head predicts 0.5 where conversion rates are a few percent: the first steps of every loss then pull the
shared bottom from log-odds 0 to about −3, the more heads the harder, and the level of the predictions swings for the rest of
a short training. The focal loss was published with the same initialisation, for rare classes (Lin et al., arXiv 1708.02002,
section 3.3).
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.models.config import CAT, ModelConfig
from mal_tf.models.network import Network

log = logging.getLogger("mal_tf.training")

#: What is never seen counts as this many clicks: a finite log-odds.
_UNSEEN = 0.5


def log_odds(counts: LabelCounts, target: str, loss: str) -> float:
    """The logit at which a constant prediction has the least loss.

    Args:
        counts: of the training split's labels.
        target: a mechanism.
        loss: as `TrainingConfig.loss`. `weighted`: log(Σ l / negatives), the optimum of Σ w·BCE / Σ w; `soft`: log(Σ l /
            (clicks − Σ l)); `binary` and `pymal`: log(positives / negatives).

    Example:
        >>> counts = LabelCounts(clicks=100, positives={"linear": 20}, credit={"linear": 10.0}, cat_classes={0: 80, 1: 20})
        >>> [round(log_odds(counts, "linear", loss), 4) for loss in ("weighted", "soft", "binary")]
        [-2.0794, -2.1972, -1.3863]
    """
    positives, credit = counts.positives[target], counts.credit[target]
    positive = positives if loss in ("binary", "pymal") else credit
    negative = counts.clicks - (credit if loss == "soft" else positives)
    return float(np.log(max(positive, _UNSEEN) / max(negative, _UNSEEN)))


def log_shares(counts: LabelCounts, targets: Sequence[str]) -> np.ndarray:
    """Log class shares of the CAT label of some mechanisms, float64 [2^N]; classes never seen share half a click.

    Example:
        >>> counts = LabelCounts(100, {"last": 10, "linear": 20}, {"last": 10.0, "linear": 9.0}, {0: 80, 2: 10, 3: 10})
        >>> np.exp(log_shares(counts, ["last", "linear"])).round(3).tolist()
        [0.796, 0.005, 0.1, 0.1]
    """
    clicks = np.zeros(2 ** len(targets))
    for cat_class, count in counts.cat_classes_for(targets).items():
        clicks[cat_class] = count
    unseen = clicks == 0
    clicks[unseen] = _UNSEEN / max(unseen.sum(), 1)
    return np.log(clicks / clicks.sum())


def start(
    network: Network, counts: LabelCounts | None, model: ModelConfig, loss: str, targets: Sequence[str]
) -> Mapping[str, np.ndarray]:
    """Sets the output biases of a new network.

    Under `compatibility: pymal` they stay as they were drawn; where there are no counts, or no mature clicks, at 0; and where a
    model of a user's own has made an output without `logit` or `cat_logits`, as it made it, which is logged.

    Args:
        network: with initial weights.
        counts: of the training split's labels; None if they are not known.
        model: its configuration.
        loss: as `TrainingConfig.loss`.
        targets: the mechanisms of the CAT class, in configured order.

    Returns:
        What each output's logits begin at: float64 [], or [2^N] for CAT.
    """
    if model.compatibility == "pymal":
        return {}
    if counts is None or not counts.clicks:
        log.warning("%s: the training split has no counts of mature labels: its heads start at 0.5", network.model.name)
        return {}
    without = [head.output for head in network.heads if network.output_layer(head.output) is None]
    if without:
        log.warning(
            "%s: no prior for %s: its logits are no layer of logit or cat_logits",
            network.model.name,
            ", ".join(without),
        )
    found = {
        head.output: log_shares(counts, targets)
        if head.target == CAT
        else np.array(log_odds(counts, head.target, loss))
        for head in network.heads
        if head.output not in without
    }
    for output, logits in found.items():
        network.set_output_bias(output, logits)
    return found


def kept(network: Network, prior: Mapping[str, np.ndarray]) -> dict[str, float | dict[str, float]]:
    """What is left of a prior after a warm start, as JSON: logit by output, for CAT by class.

    Args:
        network: whose restored heads have other biases.
        prior: as `start` returned it.
    """
    left = {name: logits for name, logits in prior.items() if np.allclose(network.output_bias(name), logits)}
    return {
        name: float(logits) if logits.ndim == 0 else {str(place): float(logit) for place, logit in enumerate(logits)}
        for name, logits in left.items()
    }
