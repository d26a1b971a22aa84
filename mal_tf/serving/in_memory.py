"""Export of a model that was trained in memory, as a SavedModel for TensorFlow Serving."""

import numpy as np
import pandas as pd
import pyarrow as pa

from features.example import examples
from features.keras2 import tf
from mal_tf.serving import check
from mal_tf.serving import export as serving
from mal_tf.serving.requests import signature_requests
from mal_tf.training.in_memory import Trained

#: Largest number of clicks with which the export is checked.
_CHECKED = 32


def export(trained: Trained, directory: str, clicks: pd.DataFrame | pa.Table) -> str:
    """Writes the next version of a model for TensorFlow Serving and checks it in a fresh process.

    Args:
        trained: the model.
        directory: local directory of all versions of the model, whose name TensorFlow Serving uses for the model.
        clicks: some clicks with a column per feature. Predictions for them are compared, and they become the warm-up
            requests of TensorFlow Serving.

    Returns:
        Directory of the version, `<directory>/<integer>`. It holds a SavedModel that takes serialized tf.Examples
        (`serving_default`) or raw features (`predict_raw`) and returns `{"cvr": float32 [batch]}`.

    Raises:
        MalTfError: the files can't be written, or the predictions of the export differ from those of the model.

    Example:
        >>> import pathlib, tempfile
        >>> import mal_tf
        >>> import pandas as pd
        >>> features = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "place"}])
        >>> clicks = pd.DataFrame({"click_id": [1, 2], "user_id": ["a", "b"], "timestamp": [0, 1], "mature": 1})
        >>> clicks = clicks.assign(place=["top", "side"], label_last=[1.0, 0.0])
        >>> trained = mal_tf.fit(clicks, features, mal_tf.ModelConfig(name="base", primary="last"))
        >>> with tempfile.TemporaryDirectory() as folder:  # takes seconds: the check starts a process
        ...     version = pathlib.Path(mal_tf.export(trained, f"{folder}/base", clicks))
        ...     version.name, (version / "saved_model.pb").exists()
        ('1', True)
    """
    sample = clicks[:_CHECKED] if isinstance(clicks, pd.DataFrame) else clicks.slice(0, _CHECKED)
    features = trained.recipe.spec
    serialized = examples(sample, [feature.name for feature in features.features])
    requests = signature_requests(tf.constant(serialized, tf.string), features)
    expected = np.asarray(trained.predict(sample))
    cases = {name: (inputs, expected) for name, inputs in requests.items()}
    served = serving.ServedModel(features, trained.recipe.lookup, trained.network)
    version, _ = serving.export(served, directory, requests, lambda written: check.verify(written, cases))
    return version
