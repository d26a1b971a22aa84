"""Export of a model that was trained in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa

from features.example import examples
from features.keras2 import tf
from mal_tf.serving import check
from mal_tf.serving import export as serving
from mal_tf.serving.requests import signature_requests
from mal_tf.training.in_memory import Trained

#: Clicks that the export is checked with, at most.
_CHECKED = 32


def export(trained: Trained, directory: str, clicks: pd.DataFrame | pa.Table) -> str:
    """Writes the next version of a model for TensorFlow Serving and checks it in a fresh process.

    Args:
        trained: the model.
        directory: of all its versions; local. Its name is the model's.
        clicks: some clicks, a column per feature: predictions for them are compared, and they become TensorFlow Serving's
            warm-up requests.

    Returns:
        Directory of the version, `<directory>/<integer>`: a SavedModel that takes serialized tf.Examples
        (`serving_default`) or raw features (`predict_raw`) and returns `{"cvr": float32 [batch]}`.

    Raises:
        MalTfError: it can't be written, or the export does not predict what the model does.
    """
    chosen = clicks[:_CHECKED] if isinstance(clicks, pd.DataFrame) else clicks.slice(0, _CHECKED)
    features = trained.recipe.spec
    serialized = examples(chosen, [feature.name for feature in features.features])
    requests = signature_requests(tf.constant(serialized, tf.string), features)
    expected = np.asarray(trained.predict(chosen))
    cases = {name: (inputs, expected) for name, inputs in requests.items()}
    served = serving.ServedModel(features, trained.recipe.lookup, trained.network)
    version, _ = serving.export(served, directory, requests, lambda written: check.verify(written, cases))
    return version
