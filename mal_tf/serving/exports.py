"""Loading of exported models, and their predictions for serialized tf.Examples."""

import weakref
from collections.abc import Callable, Collection, Mapping

import numpy as np

from features.errors import MalTfError
from features.keras2 import tf
from features.plain_path import plain_path
from mal_tf.serving.export import OUTPUT
from mal_tf.serving.inputs import check_features


def load(directory: str, name: str = "") -> dict[str, Callable]:
    """Loads an export.

    Args:
        directory: directory of the SavedModel.
        name: name of the model, for the error message.

    Returns:
        Its signatures by name, which keep its variables alive.

    Raises:
        MalTfError: there is no SavedModel, or it can't be loaded.
    """
    try:
        with plain_path(directory) as path:
            return dict(tf.saved_model.load(path).signatures)
    except (OSError, tf.errors.OpError) as error:
        model = f"model '{name}': " if name else ""
        reason = " ".join(getattr(error, "message", str(error)).split())
        raise MalTfError(f"{model}{directory}: expected a SavedModel: {reason}; export it again") from error


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
        self.signatures = {name: load(directory, name) for name, directory in versions.items()}
        for name, signatures in self.signatures.items():
            if "serving_default" not in signatures:
                raise MalTfError(
                    f"model '{name}': {versions[name]}: expected the signature serving_default, found: "
                    f"{', '.join(signatures) or 'none'}; export it again"
                )
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
