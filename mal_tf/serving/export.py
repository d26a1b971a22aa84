"""Export: a SavedModel with two signatures that gives the primary target's CVR, lookup included."""

import pathlib
import shutil
import uuid
from collections.abc import Callable, Sequence

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.parsing import parse_features, raw_signature
from features.spec import FeatureSpec
from mal_tf.models.network import Network

OUTPUT = "cvr"


class ServedModel(tf.Module):
    """Signatures over lookup and network, cut down to what the primary target needs.

    `serving_default`: `{"examples": string [batch]}`, serialized tf.Examples; labels are not parsed.
    `predict_raw`: raw values by feature name, scalars [batch], histories [batch, any].
    Both give `{"cvr": float32 [batch]}`.

    Args:
        spec: features.
        lookup: raw values → rows.
        network: trained model; heads other than the primary are left behind.
    """

    def __init__(self, spec: FeatureSpec, lookup: keras.Model, network: Network):
        super().__init__()
        self._spec, self._lookup = spec, lookup
        self._network = keras.Model(network.model.input, network.model.output[network.primary.output])
        self.serving_default = tf.function(self._serving_default, [tf.TensorSpec([None], tf.string, "examples")])
        self.predict_raw = tf.function(self._predict_raw, [raw_signature(spec)])

    def _cvr(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        logits = self._network(self._lookup(raw), training=False)
        return {OUTPUT: tf.sigmoid(logits)}

    def _serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._cvr(parse_features(examples, self._spec))

    def _predict_raw(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self._cvr(features)


def export(
    served: ServedModel, base: str, warmup: Sequence[bytes], verify: Callable[[str], float]
) -> tuple[str, float]:
    """Writes the next version `base/<integer>/`, complete and verified or not at all.

    Args:
        served: the module.
        base: directory of all versions; local.
        warmup: serialized tf.Examples for TF Serving's warm-up file; none, no file.
        verify: called with the SavedModel's directory before the version appears; what it raises, this raises.

    Returns:
        The version's directory, and what `verify` returned.

    Raises:
        MalTfError: the files can't be written.
    """
    directory = pathlib.Path(base)
    directory.mkdir(parents=True, exist_ok=True)
    version = max((int(path.name) for path in directory.iterdir() if path.name.isdigit()), default=0) + 1
    # TF Serving only looks at directories named by an integer: the rename makes the version appear at once.
    partial = directory / f".{version}.{uuid.uuid4().hex}.partial"
    try:
        tf.saved_model.save(
            served,
            str(partial),
            {"serving_default": served.serving_default, "predict_raw": served.predict_raw},
        )
        if warmup:
            _write_warmup(partial / "assets.extra" / "tf_serving_warmup_requests", directory.name, warmup)
        verified = verify(str(partial))
        final = directory / str(version)
        partial.rename(final)
    except (OSError, tf.errors.OpError) as error:
        raise MalTfError(f"{base}: the model can't be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return str(final), verified


def _write_warmup(path: pathlib.Path, model_name: str, examples: Sequence[bytes]) -> None:
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    path.parent.mkdir(parents=True)
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=model_name, signature_name="serving_default"),
        inputs={"examples": tf.make_tensor_proto(list(examples), tf.string)},
    )
    record = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(record.SerializeToString(deterministic=True))
