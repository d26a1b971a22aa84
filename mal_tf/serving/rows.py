"""From embedding rows to the CVR, as a SavedModel: what runtimes that can't look strings up can take."""

from features.errors import MalTfError
from features.keras2 import tf
from features.spec import FeatureSpec
from mal_tf.models.network import Network
from mal_tf.serving.export import OUTPUT


def save_rows(network: Network, spec: FeatureSpec, directory: str) -> None:
    """Writes a SavedModel whose one signature takes rows as `features.lookup` gives them, by feature.

    int32, scalars [batch], histories [batch, length], both with a last axis of lookups where the feature is hashed, to
    `{"cvr": float32 [batch]}`. The tables are in it.

    Args:
        network: trained model.
        spec: its features.
        directory: to write to.

    Raises:
        MalTfError: there are similarities, whose histogram the other runtimes lack or compute differently.
    """
    if spec.similarities:
        raise MalTfError(
            f"feature '{spec.similarities[0].name}': a model of similarities can't be converted for other runtimes; serve "
            "its SavedModel"
        )
    rows = {name: tf.TensorSpec([None, *of.shape[1:]], of.dtype, name) for name, of in network.model.input.items()}
    function = tf.function(lambda rows: {OUTPUT: tf.sigmoid(network.model(rows)[network.primary.output])}, [rows])
    signature, module = function.get_concrete_function(), tf.Module()
    module.variables_ = list(signature.variables)
    tf.saved_model.save(module, directory, {"serving_default": signature})
