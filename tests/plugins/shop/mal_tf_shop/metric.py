"""A metric: the mean squared distance of prediction and label. Registered by the entry point in pyproject.toml."""

from mal_tf.evaluation.metric import LOWER, Clicks, RatioMetric


class Brier(RatioMetric):
    """Σ (p − y)² / clicks."""

    name, title, summary = "brier", "Brier score", "mean squared distance of prediction and label"
    better = LOWER

    def parts(self, clicks: Clicks):
        """See base class."""
        return clicks.per_user((clicks.prediction - clicks.label) ** 2), clicks.per_user()
