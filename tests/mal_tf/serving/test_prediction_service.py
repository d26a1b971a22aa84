"""The client of docs/serving.md against an export, over TensorFlow Serving's wire protocol."""

import concurrent.futures
import pathlib
import re

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from tests.mal_tf.serving.prediction_service import serving
from tests.support.requests import INPUTS

TEXT = (pathlib.Path(__file__).parents[3] / "docs/serving.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def address(version):
    with serving(version) as found:
        yield found


@pytest.fixture(scope="module")
def code():
    """What the Python blocks define; the call's address and result are the test's."""
    definition, call, _ = (text for kind, text in BLOCKS if kind == "python")
    found = {}
    exec(definition.replace("seconds: float = 1.0", "seconds: float = 60.0"), found)  # A busy machine is no failure.
    return found, call


def test_all_signatures_answer(address, code, cases):
    client = code[0]["Client"](address, "mal")
    for name, (inputs, expected) in cases.items():
        np.testing.assert_allclose(client.cvr(name, inputs), expected, atol=1e-6)
    nothing = {key: values[:0] for key, values in INPUTS["predict_raw"].items()}
    assert client.cvr("predict_raw", nothing).shape == (0,)


def test_the_call_in_the_docs(address, code):
    found, call = code
    first, second = call.replace("localhost:8500", address).strip().splitlines()
    exec(first, found)
    cvr = eval(second, found)
    assert cvr.shape == (2,) and ((cvr > 0) & (cvr < 1)).all()


def test_many_callers_get_their_own_answers(address, code, cases):
    client, expected = code[0]["Client"](address, "mal"), cases["predict_raw"][1]

    def ask(row):
        return client.cvr("predict_raw", {key: values[[row]] for key, values in INPUTS["predict_raw"].items()})

    rows = np.arange(64) % 3
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = np.concatenate(list(pool.map(ask, rows)))
    np.testing.assert_allclose(answers, expected[rows], atol=1e-6)


def test_the_server_refuses_what_is_not_there(address, code):
    client, raw = code[0]["Client"], INPUTS["predict_raw"]
    numbers = raw | {"item": np.zeros(3, np.int64)}
    for model, signature, inputs, status in (
        ("nobody", "predict_raw", raw, grpc.StatusCode.NOT_FOUND),
        ("mal", "predict_rows", raw, grpc.StatusCode.FAILED_PRECONDITION),
        ("mal", "predict_raw", {"item": raw["item"]}, grpc.StatusCode.INVALID_ARGUMENT),
        ("mal", "predict_raw", numbers, grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            client(address, model).cvr(signature, inputs)
        assert caught.value.code() == status


def test_metadata_describes_the_signatures(address):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address))
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "mal"
    found = get_model_metadata_pb2.SignatureDefMap()
    assert stub.GetModelMetadata(request).metadata["signature_def"].Unpack(found)
    assert {name: set(found.signature_def[name].inputs) for name in INPUTS} == {
        name: set(inputs) for name, inputs in INPUTS.items()
    }


def test_models_config_is_one():
    text = next(text for kind, text in BLOCKS if kind == "protobuf")
    found = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert [entry.name for entry in found.model_config_list.config] == ["mal", "base"]
