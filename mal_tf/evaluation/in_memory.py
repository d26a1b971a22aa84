"""Evaluation of predictions for labelled clicks in memory."""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import BadInput
from features.in_memory import arrow_table
from mal_tf.evaluation.metrics import metrics_or_nan

log = logging.getLogger("mal_tf.evaluation")


def evaluate(clicks: pd.DataFrame | pa.Table, predictions: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Evaluates predictions under the label of every mechanism, on clicks whose attribution window has closed.

    Args:
        clicks: labelled clicks, as `mal_tf.labels` returns them.
        predictions: predicted CVR of each click, float [clicks] or [clicks, 1], by name of the model.

    Returns:
        A data frame indexed by mechanism (`label`) and `model`, with a column per registered metric (`auc`, `gauc`,
        `log_loss`, `pcoc`, `ece`, see `mal_tf.metrics`) and the numbers of `clicks`, `positives` and `gauc_users` (users with
        both classes). NaN where a metric lacks one of the classes; if there are no mature clicks, all are NaN and a warning is
        logged.

    Raises:
        BadInput: the columns `mature`, `user_id` or labels are missing, or predictions are not a probability per click.

    Example:
        >>> import mal_tf
        >>> import pandas as pd
        >>> clicks = pd.DataFrame({"user_id": ["a", "a", "b"], "mature": 1, "label_last": [1.0, 0.0, 0.0]})
        >>> mal_tf.evaluate(clicks, {"mine": [0.5, 0.25, 0.25]})[["auc", "pcoc"]].to_dict("index")
        {('last', 'mine'): {'auc': 1.0, 'pcoc': 1.0}}
    """
    table = arrow_table(clicks, ["mature", "user_id"])
    names = [name for name in table.column_names if name.startswith("label_") and name != "label_cat"]
    if not names:
        raise BadInput(
            f"clicks: expected a column label_<mechanism>, found columns: {', '.join(table.column_names)}; "
            "`mal_tf.labels` adds them"
        )
    probabilities = _probabilities(predictions, table.num_rows)
    mature = np.asarray(table["mature"]) == 1
    if not mature.any():
        log.warning(
            "none of %s clicks is mature, so all metrics are NaN; evaluate clicks whose attribution window has closed by "
            "`observed_until`",
            f"{table.num_rows:,}",
        )
    user = np.unique(np.asarray(table["user_id"])[mature], return_inverse=True)[1]
    values = {
        (name.removeprefix("label_"), model): metrics_or_nan(
            user, np.asarray(table[name], np.float64)[mature], prediction[mature]
        )
        for name in names
        for model, prediction in probabilities.items()
    }
    return pd.DataFrame(values.values(), pd.MultiIndex.from_tuples(values, names=["label", "model"]))


def _probabilities(predictions: Mapping[str, np.ndarray], clicks: int) -> dict[str, np.ndarray]:
    """Predictions of shape [clicks] by model, checked."""
    if not isinstance(predictions, Mapping) or not predictions:
        found = type(predictions).__name__ if not isinstance(predictions, Mapping) else "none"
        raise BadInput(f"predictions: expected arrays by name of the model, such as {{'mine': array}}; found {found}")
    checked = {}
    for model, given in predictions.items():
        values = np.asarray(given)
        if values.shape not in ((clicks,), (clicks, 1)):
            raise BadInput(f"predictions of '{model}': expected one per click, shape ({clicks},); found {values.shape}")
        if not (np.issubdtype(values.dtype, np.number) and ((values >= 0) & (values <= 1)).all()):
            raise BadInput(
                f"predictions of '{model}': expected probabilities, numbers in [0, 1]; found {_outside(values)}"
            )
        checked[model] = values.reshape(clicks)
    return checked


def _outside(values: np.ndarray) -> str:
    if not np.issubdtype(values.dtype, np.number):
        return f"values of type {values.dtype}"
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
    return f"{values.ravel()[bad[0]]} in row {bad[0]} and {bad.size - 1:,} more outside; apply a sigmoid to logits"
