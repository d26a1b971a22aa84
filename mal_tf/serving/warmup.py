"""Warm-up file of TF Serving, with requests that it answers before a version receives traffic."""

import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from features.errors import MalTfError
from features.keras2 import tf

#: Path of the file in the directory of a version.
FILE = "assets.extra/tf_serving_warmup_requests"


def write(version: str, model_name: str, requests: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes one record per signature, because each has a graph of its own that is initialised by the first call.

    Args:
        version: directory of the SavedModel.
        model_name: name under which the model will be served.
        requests: inputs of each signature, by name; strings as object arrays of bytes.
    """
    path = pathlib.Path(version) / FILE
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=model_name, signature_name=signature),
                inputs={name: tf.make_tensor_proto(values) for name, values in inputs.items()},
            )
            record = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(record.SerializeToString(deterministic=True))


def replay(version: str, signatures: Mapping[str, Callable]) -> Iterator[tuple[str, dict, dict]]:
    """Reads the file back and runs each of its requests, as TF Serving does when it loads the version.

    Args:
        version: directory of the SavedModel; without the file, nothing is run.
        signatures: signatures of the loaded model.

    Yields:
        Name of the signature, and its inputs and outputs as tensors by name.

    Raises:
        MalTfError: the file can't be read, or holds anything but requests to these signatures.
    """
    path = pathlib.Path(version) / FILE
    if not path.exists():
        return
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            name = request.model_spec.signature_name
            if name not in signatures:
                raise MalTfError(
                    f"{path}: found a request to signature '{name}', expected one of: {', '.join(signatures)}; export the "
                    "model again"
                )
            inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
            yield name, inputs, signatures[name](**inputs)
    except (tf.errors.DataLossError, DecodeError) as error:
        raise MalTfError(f"{path} can't be read as warm-up requests: {error}") from error
