"""Export of a SavedModel that predicts the primary target's CVR from raw features, including their lookup."""

import pathlib
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.parsing import parse_features, raw_signature
from features.spec import FeatureSpec
from mal_tf.calibration.in_graph import ServedCalibration
from mal_tf.models.network import Network
from mal_tf.serving import OUTPUT, warmup
from mal_tf.serving.candidates import CandidateNetwork, candidates_signature
from mal_tf.serving.versions import numbered

#: Name of the signature for one user and many ads.
CANDIDATES = "predict_candidates"

Verified = TypeVar("Verified")


class ServedModel:
    """Serving signatures over lookup and network, reduced to what the primary target needs.

    `serving_default` takes `{"examples": string [batch]}`, serialized tf.Examples, of which labels are not parsed.
    `predict_raw` takes raw values by feature name, scalars [batch] and histories [batch, any].
    `predict_candidates`, which exists with `user_features`, takes the same with the user's features given once for all ads of
    the batch, scalars [1] and histories [1, any].
    All return `{"cvr": float32 [batch]}`.

    Args:
        spec: features.
        lookup: model from raw values to rows.
        network: trained network, of which only the primary head is exported.
        user_features: names of the user's features.
        calibration: calibration of the logits; None for no calibration.

    Attributes:
        signatures: traced functions by name.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        lookup: keras.Model,
        network: Network,
        user_features: Sequence[str] = (),
        calibration: ServedCalibration | None = None,
    ):
        self._spec, self._lookup, self._calibration = spec, lookup, calibration
        self._ads = [feature.name for feature in spec.features if feature.name not in user_features]
        self._network = keras.Model(network.model.input, network.model.output[network.primary.output])
        self.serving_default = tf.function(self._serving_default, [tf.TensorSpec([None], tf.string, "examples")])
        self.predict_raw = tf.function(self._predict_raw, [raw_signature(spec)])
        functions = {"serving_default": self.serving_default, "predict_raw": self.predict_raw}
        if user_features:
            self._candidates = CandidateNetwork(spec, network, user_features)
            functions[CANDIDATES] = tf.function(self._predict_candidates, [candidates_signature(spec, user_features)])
        self.signatures = {name: function.get_concrete_function() for name, function in functions.items()}

    def module(self) -> tf.Module:
        """Module with the variables and lookup tables that the signatures need, without the Keras model.

        Saving the Keras model would add a second copy of the graph of each of its layers.
        """
        module = tf.Module()
        signatures = self.signatures.values()
        module.variables_ = list({id(v): v for function in signatures for v in function.variables}.values())
        within = tf.train.TrackableView(self._lookup).descendants()
        module.tables = [table for table in within if isinstance(table, tf.lookup.StaticHashTable)]
        module.tables += self._calibration.tables if self._calibration else []
        return module

    def _output(self, logits: tf.Tensor, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {OUTPUT: self._calibration(logits, raw) if self._calibration else tf.sigmoid(logits)}

    def _cvr(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self._output(self._network(self._lookup(raw), training=False), raw)

    def _serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._cvr(parse_features(examples, self._spec))

    def _predict_raw(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        _check_rows(list(features.values()))
        return self._cvr(features)

    def _predict_candidates(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        _check_rows([features[name] for name in self._ads])
        return self._output(self._candidates(self._lookup(features)), features)


def _check_rows(values: Sequence[tf.Tensor]) -> None:
    """Has a request fail whose features have different numbers of rows; a history of one row would pass for that of all."""
    rows = tf.stack([tf.shape(value)[0] for value in values])
    message = "expected values for the same number of clicks in all features, found these numbers:"
    tf.debugging.Assert(tf.reduce_all(rows == rows[0]), [message, rows], summarize=len(values))


def export(
    served: ServedModel, base: str, requests: Mapping[str, Mapping[str, np.ndarray]], verify: Callable[[str], Verified]
) -> tuple[str, Verified]:
    """Writes the next version `base/<integer>/`. It appears only if it is complete and verified.

    Args:
        served: the model.
        base: local directory of all versions, whose name is that of the model.
        requests: inputs by signature for TF Serving's warm-up file; if empty, no file is written.
        verify: function that is called with the directory of the SavedModel before the version appears. Its errors are
            passed on.

    Returns:
        The directory of the version, and the result of `verify`.

    Raises:
        MalTfError: the files can't be written.
    """
    directory = pathlib.Path(base)
    directory.mkdir(parents=True, exist_ok=True)
    version = max((number for number, _ in numbered(base)), default=0) + 1
    for unfinished in directory.glob(".*.partial"):
        shutil.rmtree(unfinished)
    # TF Serving ignores directories that are not named by an integer, so the rename publishes the version atomically.
    partial = directory / f".{version}.{uuid.uuid4().hex}.partial"
    try:
        tf.saved_model.save(served.module(), str(partial), served.signatures)
        if requests:
            warmup.write(str(partial), directory.name, requests)
        verified = verify(str(partial))
        final = directory / str(version)
        partial.rename(final)
    except (OSError, tf.errors.OpError) as error:
        raise MalTfError(f"{base}: the model can't be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return str(final), verified
