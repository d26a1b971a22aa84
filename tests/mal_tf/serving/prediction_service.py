"""A small stand-in for `tensorflow_model_server`: PredictionService over a SavedModel, on TensorFlow Serving's protocol.

The model is loaded as the server does it: by tag into a session, signatures by the tensors of their definitions.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from concurrent import futures

import grpc
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from features.keras2 import tf


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers Predict and GetModelMetadata for one version of one model."""

    def __init__(self, version: str):
        self._version, self._name = int(pathlib.Path(version).name), pathlib.Path(version).parent.name
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            self._signatures = tf.compat.v1.saved_model.load(self._session, ["serve"], version).signature_def

    def Predict(self, request, context):
        """Runs a signature."""
        signature = self._signature(request.model_spec, context)
        expected = {name: tensor.dtype for name, tensor in signature.inputs.items()}
        found = {name: tensor.dtype for name, tensor in request.inputs.items()}
        if found != expected:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"expected inputs {expected}, found {found}")
        feed = {signature.inputs[name].name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        outputs = self._session.run({name: tensor.name for name, tensor in signature.outputs.items()}, feed)
        response = predict_pb2.PredictResponse(
            outputs={name: tf.make_tensor_proto(values) for name, values in outputs.items()}
        )
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = self._version
        return response

    def GetModelMetadata(self, request, context):
        """Describes the signatures."""
        self._check_name(request.model_spec, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(
            get_model_metadata_pb2.SignatureDefMap(signature_def=dict(self._signatures))
        )
        return response

    def _signature(self, spec, context) -> meta_graph_pb2.SignatureDef:
        self._check_name(spec, context)
        name = spec.signature_name or "serving_default"
        if name not in self._signatures:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"Serving signature name: {name!r} not found")
        return self._signatures[name]

    def _check_name(self, spec, context) -> None:
        if spec.name != self._name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")


@contextlib.contextmanager
def serving(version: str) -> Iterator[str]:
    """Serves a version on a free port of this machine: its address."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(version), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
