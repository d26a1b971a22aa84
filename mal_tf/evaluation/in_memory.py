"""Evaluation of predictions for labelled clicks in memory."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from mal_tf.evaluation.metrics import metrics_or_nan


def evaluate(clicks: pd.DataFrame | pa.Table, predictions: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Evaluates predictions under the label of every mechanism, on clicks whose attribution window has closed.

    Args:
        clicks: labelled clicks, as `mal_tf.labels` returns them.
        predictions: predicted CVR of each click, float [clicks], by name of the model.

    Returns:
        A data frame indexed by mechanism (`label`) and `model`, with a column per registered metric (`auc`, `gauc`,
        `log_loss`, `pcoc`, `ece`, see `mal_tf.metrics`) and the numbers of `clicks`, `positives` and `gauc_users` (users with
        both classes). NaN where a metric lacks one of the classes.

    Example:
        >>> import mal_tf
        >>> import pandas as pd
        >>> clicks = pd.DataFrame({"user_id": ["a", "a", "b"], "mature": 1, "label_last": [1.0, 0.0, 0.0]})
        >>> mal_tf.evaluate(clicks, {"mine": [0.5, 0.25, 0.25]})[["auc", "pcoc"]].to_dict("index")
        {('last', 'mine'): {'auc': 1.0, 'pcoc': 1.0}}
    """
    table = clicks if isinstance(clicks, pa.Table) else pa.Table.from_pandas(clicks, preserve_index=False)
    mature = np.asarray(table["mature"]) == 1
    user = np.unique(np.asarray(table["user_id"])[mature], return_inverse=True)[1]
    names = [name for name in table.column_names if name.startswith("label_") and name != "label_cat"]
    values = {
        (name.removeprefix("label_"), model): metrics_or_nan(
            user, np.asarray(table[name], np.float64)[mature], np.asarray(prediction)[mature]
        )
        for name in names
        for model, prediction in predictions.items()
    }
    return pd.DataFrame(values.values(), pd.MultiIndex.from_tuples(values, names=["label", "model"]))
