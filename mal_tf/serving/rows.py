"""SavedModel from embedding rows to the CVR, for runtimes without string lookup."""

from features.errors import MalTfError
from features.keras2 import tf
from features.spec import FeatureSpec
from mal_tf.models.network import Network
from mal_tf.serving import OUTPUT


def save_rows(network: Network, spec: FeatureSpec, directory: str) -> None:
    """Writes a SavedModel, including the embedding tables, whose only signature takes the rows of `features.lookup`.

    Inputs are int32 by feature name, scalars [batch] and histories [batch, length], with a further axis of lookups if the
    feature is hashed. The output is `{"cvr": float32 [batch]}`.

    Args:
        network: trained network.
        spec: its features.
        directory: directory to write to.

    Raises:
        MalTfError: there are similarity features, whose histogram other runtimes lack or compute differently.
    """
    if spec.similarities:
        raise MalTfError(
            f"feature '{spec.similarities[0].name}': a model of similarities can't be converted for other runtimes; serve "
            "its SavedModel"
        )
    inputs = network.model.input.items()
    rows = {name: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name) for name, tensor in inputs}
    function = tf.function(lambda rows: {OUTPUT: tf.sigmoid(network.model(rows)[network.primary.output])}, [rows])
    signature, module = function.get_concrete_function(), tf.Module()
    module.variables_ = list(signature.variables)
    tf.saved_model.save(module, directory, {"serving_default": signature})
