"""Prior biases: initial output biases that make every head predict the log-odds of its target in the training split.

With biases of 0, heads initially predict 0.5, while conversion rates are a few percent. The first steps of every loss then
pull the shared bottom from log-odds 0 to about −3, more strongly the more heads there are, and the level of the predictions
oscillates for the rest of a short training. The focal loss was published with the same initialisation for rare classes (Lin
et al., arXiv 1708.02002, section 3.3).
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.models.config import CAT, ModelConfig
from mal_tf.models.network import Network

log = logging.getLogger("mal_tf.training")

#: Number of clicks that a class without clicks counts as, so that log-odds are finite.
_UNSEEN = 0.5


def log_odds(counts: LabelCounts, target: str, loss: str) -> float:
    """Logit of the constant prediction with the smallest loss.

    Args:
        counts: counts of the labels of the training split.
        target: name of a mechanism.
        loss: see `TrainingConfig.loss`. The logit is log(Σ l / negatives) for `weighted`, the optimum of Σ w·BCE / Σ w;
            log(Σ l / (clicks − Σ l)) for `soft`; log(positives / negatives) for `binary` and `pymal`.

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
    """Logarithms of the class shares of the CAT label of N mechanisms, float64 [2^N]. Unseen classes share half a click.

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
    """Sets the output biases of a new network to the prior.

    Biases keep their initial values under `compatibility: pymal`, if there are no counts or no mature clicks, and for outputs
    that your own model created without `logit` or `cat_logits`. The latter two cases are logged.

    Args:
        network: network with initial weights.
        counts: counts of the labels of the training split; None if unknown.
        model: configuration of the model.
        loss: see `TrainingConfig.loss`.
        targets: mechanisms of the CAT class, in configured order.

    Returns:
        Initial logits by output: float64 [], or [2^N] for CAT.
    """
    if model.compatibility == "pymal":
        return {}
    if counts is None or not counts.clicks:
        log.warning(
            "%s: the training split has no counts of mature labels, so its heads start at 0.5", network.model.name
        )
        return {}
    without = [head.output for head in network.heads if network.output_layer(head.output) is None]
    if without:
        log.warning(
            "%s: no prior for %s, whose logits were not created by logit or cat_logits",
            network.model.name,
            ", ".join(without),
        )
    priors = {
        head.output: log_shares(counts, targets)
        if head.target == CAT
        else np.array(log_odds(counts, head.target, loss))
        for head in network.heads
        if head.output not in without
    }
    for output, logits in priors.items():
        network.set_output_bias(output, logits)
    return priors


def kept(network: Network, prior: Mapping[str, np.ndarray]) -> dict[str, float | dict[str, float]]:
    """The priors that a warm start did not replace, as JSON: logit by output, for CAT by class.

    Args:
        network: network whose restored heads have other biases.
        prior: result of `start`.
    """
    remaining = {name: logits for name, logits in prior.items() if np.allclose(network.output_bias(name), logits)}
    return {
        name: float(logits) if logits.ndim == 0 else {str(index): float(logit) for index, logit in enumerate(logits)}
        for name, logits in remaining.items()
    }
