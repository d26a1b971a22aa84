import pathlib
import subprocess
import sys

import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from features.lookup import lookup_model
from mal_tf.calibration.calibration import Calibration
from mal_tf.calibration.curve import Curve
from mal_tf.calibration.in_graph import ServedCalibration
from mal_tf.serving import check, warmup
from mal_tf.serving.export import ServedModel, export
from mal_tf.serving.graph_size import graph_size
from tests.support.models import SPEC, VOCABULARIES
from tests.support.requests import INPUTS, ITEM, SEEN


@pytest.mark.parametrize(("slices", "users"), [((), ["seen"]), (("a", ""), ["item"])], ids=["one for all", "by item"])
def test_a_calibrated_model_answers_as_its_curves_in_every_signature(network, cases, tmp_path, slices, users):
    """Warm-up requests, batches of one and of no click included; the unknown item gets the overall curve."""
    curve = Curve(np.array([-1.0, 0.0]), np.array([-4.0, -1.0]), 2.0)
    steeper = {token: Curve(np.zeros(1), np.array([0.5 * n]), 3.0) for n, token in enumerate(slices, 1)}
    calibration = Calibration(curve, steeper)
    in_graph = ServedCalibration(calibration, SPEC.scalar("item") if slices else None)
    served = ServedModel(SPEC, lookup_model(SPEC, VOCABULARIES), network, users, in_graph)
    item, first = INPUTS["predict_raw"]["item"], np.zeros(3, int)
    inputs = INPUTS | {"predict_candidates": {k: v[:1] if k in users else v for k, v in INPUTS["predict_raw"].items()}}
    rows = {"item": ITEM.numpy(), "seen": SEEN.numpy()}
    of_one = {name: values[first] if name in users else values for name, values in rows.items()}
    expected = {name: calibration(network.model(rows)["last"].numpy(), item) for name in INPUTS}
    asked = item[first] if "item" in users else item
    expected["predict_candidates"] = calibration(network.model(of_one)["last"].numpy(), asked)
    assert np.abs(expected["predict_raw"] - cases["predict_raw"][1]).min() > 0.01
    of_all = {name: (inputs[name], expected[name].astype(np.float32)) for name in INPUTS}
    version, checked = export(served, str(tmp_path / "mal"), inputs, lambda directory: check.verify(directory, of_all))
    assert checked.largest_difference <= 1e-6
    outputs = tf.saved_model.load(version).signatures["serving_default"].structured_outputs
    assert {name: (of.dtype, of.shape.as_list()) for name, of in outputs.items()} == {"cvr": (tf.float32, [None])}


@pytest.mark.parametrize(
    ("signature", "cut"),
    [("predict_raw", "seen"), ("predict_raw", "item"), ("predict_candidates", "item")],
)
def test_features_of_different_numbers_of_clicks_are_refused(version, signature, cut):
    """A history of one click beside the other features of three is not taken for the history of all."""
    found = tf.saved_model.load(version).signatures[signature]
    for rows in (0, 1, 2):
        request = {name: tf.constant(values) for name, values in INPUTS[signature].items()}
        request[cut] = request[cut][:rows]
        if signature == "predict_candidates":  # The user's history is given once, the ads' item for each.
            assert found(**request)["cvr"].shape == (rows,)
            continue
        with pytest.raises(tf.errors.InvalidArgumentError, match="the same number of clicks in all features, found"):
            found(**request)


def test_warmup_requests_are_run_as_they_are_read_back(version, cases):
    signatures = tf.saved_model.load(version).signatures
    found = {name: (inputs, outputs["cvr"]) for name, inputs, outputs in warmup.replay(version, signatures)}
    assert list(found) == ["serving_default", "predict_raw", "predict_candidates"]
    for name, (inputs, cvr) in found.items():
        assert {key: values.numpy().tolist() for key, values in inputs.items()} == {
            key: values[:2].tolist() for key, values in INPUTS[name].items()
        }
        np.testing.assert_allclose(cvr, cases[name][1][:2], atol=1e-6)
    with pytest.raises(
        MalTfError, match="found a request to signature 'predict_raw', expected one of: serving_default"
    ):
        list(warmup.replay(version, {"serving_default": signatures["serving_default"]}))


def test_garbage_is_no_warmup_file(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / warmup.FILE).write_bytes(b"garbage of some length")
    with pytest.raises(MalTfError, match="can't be read as warm-up requests"):
        list(warmup.replay(str(tmp_path), {}))


def test_saved_model_cli_shows_names_types_and_shapes(version):
    program = pathlib.Path(sys.executable).parent / "saved_model_cli"
    command = [str(program), "show", "--dir", version, "--all"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    signatures = {text.split("']")[0]: text.split() for text in shown.split("signature_def['")[1:]}
    inputs = {
        "serving_default": {"examples": ("DT_STRING", "(-1)")},
        "predict_raw": {"item": ("DT_STRING", "(-1)"), "seen": ("DT_STRING", "(-1, -1)")},
        "predict_candidates": {"item": ("DT_STRING", "(-1)"), "seen": ("DT_STRING", "(1, -1)")},
    }
    for signature, tensors in inputs.items():
        words = " ".join(signatures[signature])
        for kind, named in (("inputs", tensors), ("outputs", {"cvr": ("DT_FLOAT", "(-1)")})):
            assert words.count(f"{kind}['") == len(named)
            for name, (dtype, shape) in named.items():
                assert f"{kind}['{name}'] tensor_info: dtype: {dtype} shape: {shape} name:" in words


def test_what_only_training_needs_is_not_in_it(version, network, served):
    rows = {
        name: tf.TensorSpec([None, *values.shape[1:]], values.dtype)
        for name, values in (("item", ITEM), ("seen", SEEN))
    }
    trained = tf.function(network.model, [rows])
    whole, cut = graph_size(trained.get_concrete_function()), graph_size(served.signatures["predict_raw"])
    heads = 3 * (32 + 1) + (32 + 1) * 8  # of three AKA towers of width 32, and of the CAT tower for 2³ classes
    assert whole["parameters"] - cut["parameters"] == heads
    saved = [shape for name, shape in tf.train.list_variables(f"{version}/variables/variables") if "variables_" in name]
    assert sum(int(np.prod(shape)) for shape in saved) == cut["parameters"]


def test_graph_size_counts_a_called_function_too():
    weights = tf.Variable(tf.zeros([2, 3]))
    inner = tf.function(lambda x: tf.nn.relu(x @ weights))
    spec = [tf.TensorSpec([None, 2])]
    plain = graph_size(tf.function(inner.python_function, spec).get_concrete_function())
    more = graph_size(tf.function(lambda x: tf.nn.relu(tf.nn.relu(x @ weights)), spec).get_concrete_function())
    calling = graph_size(tf.function(lambda x: inner(x), spec).get_concrete_function())
    assert plain["parameters"] == more["parameters"] == calling["parameters"] == 6
    assert more["ops"] - plain["ops"] == 1
    assert calling["ops"] > plain["ops"]


def test_versions_count_up_and_one_that_fails_its_check_never_appears(served, tmp_path):
    def refuse(_):
        raise MalTfError("no")

    for number in ("1", "2"):
        assert export(served, str(tmp_path), {}, lambda _: 0.0)[0] == str(tmp_path / number)
    with pytest.raises(MalTfError, match="no"):
        export(served, str(tmp_path), {}, refuse)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
