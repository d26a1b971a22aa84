"""Export of a model that was trained in memory, as a SavedModel for TensorFlow Serving."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import BadInput, MalTfError
from features.example import examples
from features.in_memory import arrow_table
from features.keras2 import tf
from features.lookup import lookup_model
from features.parsing import raw_features
from features.spec import FeatureSpec
from mal_tf.models.network import Network
from mal_tf.serving import check
from mal_tf.serving import export as serving
from mal_tf.serving.requests import signature_requests
from mal_tf.training.in_memory import Trained, cvr_model

#: Largest number of clicks with which the export is checked.
_CHECKED = 32


def export(
    trained: Trained | Network,
    directory: str,
    clicks: pd.DataFrame | pa.Table,
    *,
    features: FeatureSpec | None = None,
    vocabularies: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Writes the next version of a model for TensorFlow Serving and checks it in a fresh process.

    Args:
        trained: the model, as `fit` returns it, or a network of `build` that was trained in a loop of your own.
        directory: local directory of all versions of the model, whose name TensorFlow Serving uses for the model.
        clicks: some clicks with a column per feature. Predictions for them are compared, and they become the warm-up
            requests of TensorFlow Serving.
        features: features of a network of `build`.
        vocabularies: vocabularies that the network was built with.

    Returns:
        Directory of the version, `<directory>/<integer>`. It holds a SavedModel that takes serialized tf.Examples
        (`serving_default`) or raw features (`predict_raw`) and returns `{"cvr": float32 [batch]}`.

    Raises:
        BadInput: there are no clicks, or the column of a feature is missing or of another type.
        MalTfError: `trained` is something else, the files can't be written, or the predictions of the export differ from those
            of the model.

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
    if isinstance(trained, Trained):
        if features is not None or vocabularies is not None:
            raise MalTfError("features and vocabularies are for a network of `build`; what `fit` returned has its own")
        spec, lookup, network = trained.recipe.spec, trained.recipe.lookup, trained.network
    elif not isinstance(trained, Network):
        raise MalTfError(
            f"expected what `mal_tf.fit` or `mal_tf.build` returned, found {type(trained).__name__}. A Keras model does not tell "
            "its features and its primary output; its own method `export` writes it without checks"
        )
    elif features is None or vocabularies is None:
        raise MalTfError("to export a network of `build`, give its `features` and `vocabularies` too")
    else:
        spec, lookup, network = features, lookup_model(features, vocabularies), trained
    sample = arrow_table(clicks, list(spec.arrow_types)).slice(0, _CHECKED)
    if not sample.num_rows:
        raise BadInput("clicks: expected some to check the export with, found a table without rows")
    requests = signature_requests(tf.constant(examples(sample, spec.arrow_types), tf.string), spec)
    model = cvr_model(lookup, network)
    expected = model.predict(raw_features(sample, spec), verbose=0)["cvr"]
    cases = {name: (inputs, np.asarray(expected)) for name, inputs in requests.items()}
    served = serving.ServedModel(spec, lookup, network)
    version, _ = serving.export(served, directory, requests, lambda written: check.verify(written, cases))
    return version
