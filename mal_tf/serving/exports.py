"""Loading of exported models, and their predictions for serialized tf.Examples."""

import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from features.errors import MalTfError
from features.feature import MISSING
from features.keras2 import tf
from features.plain_path import plain_path
from mal_tf.serving import OUTPUT
from mal_tf.serving.inputs import check_features


def load(directory: str, name: str = "", signature: str = "") -> dict[str, Callable]:
    """Loads an export.

    Args:
        directory: directory of the SavedModel.
        name: name of the model, for the error message.
        signature: `serving_default` or `predict_raw`, which it has to have as mal-tf exports it; empty if none.

    Returns:
        Its signatures by name, which keep its variables alive.

    Raises:
        MalTfError: there is no SavedModel, it can't be loaded, or it is no export.
    """
    place = f"model '{name}': {directory}" if name else directory
    with plain_path(directory) as path:
        try:
            signatures = dict(tf.saved_model.load(path).signatures)
        except Exception as error:  # TensorFlow raises all kinds for files that are cut or of other programs.
            reason = " ".join(getattr(error, "message", str(error)).split()).replace(path, directory)
            raise MalTfError(f"{place}: expected a SavedModel: {reason}; export it again") from error
    if signature and signature not in signatures:
        raise MalTfError(
            f"{place}: expected the signature {signature}, found: {', '.join(signatures) or 'none'}; export it with mal-tf"
        )
    if signature and (reason := _difference(signature, signatures[signature])):
        raise MalTfError(
            f"{place}: expected an export of mal-tf, found a signature {signature} {reason}; export it with mal-tf"
        )
    return signatures


def _difference(name: str, signature: Any) -> str:
    """Says how a signature differs from one that mal-tf exports; empty if it doesn't."""
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if OUTPUT not in outputs or outputs[OUTPUT].dtype != tf.float32 or outputs[OUTPUT].shape.rank not in (1, None):
        return f"without the output '{OUTPUT}', a number for each click: its outputs are {_described(outputs)}"
    if name == "serving_default" and (set(inputs) != {"examples"} or inputs["examples"].dtype != tf.string):
        return f"whose inputs are not serialized tf.Examples: {_described(inputs)}"
    if unlike := {key: spec for key, spec in inputs.items() if not _of_clicks(spec)}:
        return f"with inputs that are no features of clicks: {_described(unlike)}"
    return ""


def _of_clicks(spec: Any) -> bool:
    """Whether an input takes values or lists, of a feature's type, of any number of clicks."""
    return spec.dtype.name in MISSING and spec.shape.rank in (1, 2) and set(spec.shape) == {None}


def _described(tensors: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {spec.dtype.name} {spec.shape}" for name, spec in tensors.items()) or "none"


class Exports:
    """Exported models that score serialized tf.Examples.

    Args:
        versions: directory of the SavedModel by model name.

    Attributes:
        signatures: signatures of each model, by name.

    Raises:
        MalTfError: a model can't be loaded, or lacks the signature `serving_default`.
    """

    def __init__(self, versions: Mapping[str, str]):
        self.signatures = {name: load(directory, name, "serving_default") for name, directory in versions.items()}
        # If models live until the interpreter exits, as in Beam, TensorFlow destroys them when it is partly unloaded, which
        # prints errors. Finalizers run before that.
        weakref.finalize(self, self.signatures.clear)

    def check_features(self, features: Collection[str], place: str) -> None:
        """Checks that clicks have the features of each model, see `mal_tf.serving.inputs.check_features`.

        Args:
            features: names of the features of the clicks.
            place: where the clicks come from, for messages.
        """
        for name, signatures in self.signatures.items():
            check_features(signatures, features, f"model '{name}'", place)

    def predict(self, examples: tf.Tensor, place: str) -> dict[str, np.ndarray]:
        """Scores clicks.

        Args:
            examples: string [clicks], serialized tf.Examples.
            place: where they come from, for messages.

        Returns:
            CVR, float32 [clicks], by model name.

        Raises:
            MalTfError: a model can't score them.
        """
        return {name: self._predict(name, examples, place) for name in self.signatures}

    def _predict(self, name: str, examples: tf.Tensor, place: str) -> np.ndarray:
        try:
            return self.signatures[name]["serving_default"](examples=examples)[OUTPUT].numpy()
        except (tf.errors.OpError, KeyError) as error:
            reason = getattr(error, "message", str(error)).split("<stack traces unavailable>")[-1]
            raise MalTfError(f"model '{name}' can't score {place}: {' '.join(reason.split())}") from error
