"""Our models with PyMAL's parameters against PyMAL's own outputs.

The shared cases are looked for in MAL_TF_PYMAL_GOLDEN, by default `../shared/golden/pymal` beside the repository; its README
says what each array is. `test_pymal_small.py` always runs.
"""

import json
import os
import pathlib
import warnings

import numpy as np
import pytest

from features.keras2 import keras, tf
from mal_tf.evaluation.metrics import gauc, per_user
from mal_tf.layers.stacked_embedding import StackedEmbedding
from mal_tf.models.config import CAT
from mal_tf.training import gradients
from mal_tf.training.config import TrainingConfig
from mal_tf.training.trainer import Trainer
from tests.mal_tf.models import pymal
from tests.mal_tf.models.pymal_numpy import VIEWS, Reference

_ROOT = pathlib.Path(__file__).parents[3]
FOLDER = pathlib.Path(os.environ.get("MAL_TF_PYMAL_GOLDEN", _ROOT.parent / "shared/golden/pymal"))
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no folder {FOLDER}: set MAL_TF_PYMAL_GOLDEN")
CONFIG = TrainingConfig(loss="pymal", auxiliary_weight=0.3, cat_weight=0.3, gradient_variant="pymal")


def test_the_folder_has_cases():
    assert CASES and _small_cases() and _metric_cases()


class Case:
    """A case's arrays, and our model with its parameters."""

    def __init__(self, name):
        with np.load(FOLDER / f"{name}.npz") as arrays:
            self.arrays = dict(arrays)
        self.meta = json.loads(str(self.arrays.pop("meta")))
        self.network = pymal.build(self.meta)
        pymal.set_parameters(self.network, self.part("param/"), self.meta)
        self.rows = pymal.rows_of(self.arrays, self.meta)
        labels = {
            name: tf.constant(self.arrays[f"label/{name}"], tf.float32) for name in ("first", "last", "mta", "linear")
        }
        self.labels = labels | {"mature": tf.ones(len(labels["last"]), tf.int64)}
        self.trainer = Trainer(self.network, pymal.targets_of(self.meta), CONFIG)

    def part(self, prefix):
        return {key.removeprefix(prefix): value for key, value in self.arrays.items() if key.startswith(prefix)}

    def differentiate(self):
        """Losses by PyMAL's names, and the gradient of each head's."""
        with tf.GradientTape(persistent=True) as tape:
            losses = self.trainer.head_losses((self.rows, self.labels), training=True)
        variables = self.network.model.trainable_variables
        heads = self.network.heads
        names = ["main" if h.primary else f"aux/{'cartesian' if h.target == CAT else h.target}" for h in heads]
        return dict(zip(names, losses, strict=True)), [tape.gradient(loss, variables) for loss in losses]


def largest(found, expected):
    return max(float(np.abs(found[name] - expected[name]).max()) for name in expected)


@pytest.fixture
def float64():
    keras.backend.set_floatx("float64")
    keras.mixed_precision.set_global_policy("float64")  # It wins over the type of floats once a training has set it.
    yield
    keras.mixed_precision.set_global_policy("float32")
    keras.backend.set_floatx("float32")


def tensors_of(layer):
    """PyMAL has a tensor per table, we one for all."""
    return [layer.row_range(name) for name in layer.sizes] if isinstance(layer, StackedEmbedding) else [slice(None)]


def assert_gradients(case, combined, prefix, record_property):
    """Each tensor within the tolerance of its largest entry."""
    variables = {v.ref(): g for v, g in zip(case.network.model.trainable_variables, combined, strict=True)}
    expected, rounded, worst = pymal.arrays_of(case.part(prefix), case.meta), case.meta["grad_rounding"], 0.0
    tolerance = 2e-4 if rounded["significant_bits"] < 16 else 1e-4
    for layer in case.network.model.layers:
        for weight, wanted in zip(layer.weights, expected.get(layer.name, ()), strict=True):
            gradient = variables[weight.ref()]
            found = np.zeros(wanted.shape) if gradient is None else tf.convert_to_tensor(gradient).numpy()
            for part in tensors_of(layer):
                scale = np.abs(wanted[part]).max()
                difference = np.abs(found[part] - wanted[part]).max()
                assert difference <= tolerance * scale + 1e-8, (weight.name, part, difference, scale)
                worst = max(worst, difference / scale if scale > 1e-7 else 0)
    record_property(f"{prefix} relative", float(worst))


def by_their_tensors(combine, of_each, case):
    """Applies `combine`; PyMAL has an attention's query, key and value projections in one tensor, its PCGrad goes by tensor."""
    model = case.network.model
    place = {variable.ref(): i for i, variable in enumerate(model.trainable_variables)}
    attentions = [layer for layer in model.layers if layer.name.startswith("attention_")]
    parts = (0, 2, 3), (1, 4)  # Kernels of query, key and value; biases of query and value.
    groups = [[place[layer.weights[i].ref()] for i in of_kind] for layer in attentions for of_kind in parts]
    merged = [list(of_loss) for of_loss in of_each]
    for of_loss in merged:
        for group in groups:
            whole = tf.concat([of_loss[i] for i in group], axis=-1)
            for i in group:
                of_loss[i] = whole if i == group[0] else None
    ends = [None] * len(merged[0])
    for stack in case.network.stacks:
        ends[place[stack.embeddings.ref()]] = stack.ends
    combined = gradients.on_touched_rows(combine, merged, ends)
    for group in groups:
        for i, part in zip(group, tf.split(combined[group[0]], len(group), axis=-1), strict=True):
            combined[i] = part
    return combined


@pytest.mark.parametrize("name", CASES)
def test_probabilities_losses_and_gradients(name, record_property):
    case = Case(name)
    expected = case.part("prob/")
    difference = largest(pymal.probabilities(case.network, case.rows, case.meta), expected)
    record_property("probabilities", float(difference))
    assert difference <= 5e-6
    losses, of_each = case.differentiate()
    total = float(case.trainer.compute_loss((case.rows, case.labels)))
    for key, value in (losses | {"total": total}).items():
        assert float(value) == pytest.approx(float(case.arrays[f"loss/{key}"]), rel=2e-6, abs=1e-6), key
    if case.part("grad/"):
        combined = gradients.weighted_sum([1, *[0.3] * (len(of_each) - 1)], _dense(of_each))
        assert_gradients(case, combined, "grad/", record_property)
    for prefix, combine in (("pcgrad/", gradients.pcgrad_pymal), ("gcsgrad/", gradients.gcs_pymal)):
        if case.part(prefix):
            assert_gradients(case, by_their_tensors(combine, of_each, case), prefix, record_property)


@pytest.mark.parametrize("name", CASES)
def test_in_double_precision(name, float64, record_property):
    case = Case(name)
    expected = case.part("prob64/")
    difference = largest(pymal.probabilities(case.network, case.rows, case.meta), expected)
    record_property("probabilities", float(difference))
    assert difference <= 1e-10
    losses, _ = case.differentiate()
    for key, value in losses.items():
        assert float(value) == pytest.approx(float(case.arrays[f"loss64/{key}"]), abs=1e-10), key


@pytest.mark.parametrize("name", CASES)
def test_the_small_cases_reference_is_pymal(name):
    """What `test_pymal_small.py` compares with, held against the same arrays."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        arrays = dict(arrays)
    inputs = {key: arrays[f"input/{key}"] for key in ("user", "ad", "seq", "mm")}
    inputs["label"] = {view: arrays[f"label/{view}"] for view in VIEWS}
    parameters = {key.removeprefix("param/"): value for key, value in arrays.items() if key.startswith("param/")}
    reference = Reference(parameters, inputs, json.loads(str(arrays["meta"])))
    for view, found in reference.probabilities().items():
        np.testing.assert_allclose(found, arrays[f"prob64/{view}"], rtol=0, atol=1e-12)
    for key, value in reference.losses().items():
        assert value == pytest.approx(float(arrays[f"loss64/{key}"]), abs=1e-12)


def _dense(of_each):
    return [[None if g is None else tf.convert_to_tensor(g) for g in of_loss] for of_loss in of_each]


def _small_cases():
    path = FOLDER / "gradsurgery_small.json"
    return json.loads(path.read_text())["cases"] if path.exists() else []


@pytest.mark.parametrize("case", _small_cases(), ids=lambda case: case["name"])
def test_gradient_surgery(case):
    order, names = ("main", *case["aux_order"]), list(case["raw"]["main"])
    raw = [
        [
            None if case["raw"][loss][name] is None else tf.constant(case["raw"][loss][name], tf.float32)
            for name in names
        ]
        for loss in order
    ]
    for loss, own in zip(order[1:], raw[1:], strict=True):
        assert float(gradients.cosine(raw[0], own)) == pytest.approx(case["cosine"][loss], abs=1e-6)
    for key, found in (("pcgrad", gradients.pcgrad_pymal(raw)), ("gcsgrad", gradients.gcs_pymal(raw))):
        for name, gradient in zip(names, found, strict=True):
            if case[key][name] is None:
                assert gradient is None
            else:
                np.testing.assert_allclose(gradient, case[key][name], atol=1e-6)


def _metric_cases():
    path = FOLDER / "metric.json"
    return json.loads(path.read_text())["cases"] if path.exists() else []


@pytest.mark.parametrize("case", _metric_cases(), ids=lambda case: case["name"])
def test_auc_and_gauc(case):
    user = np.unique(case["users"], return_inverse=True)[1]
    label, score = np.array(case["labels"], np.float64), np.array(case["scores"], np.float32).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        area = per_user(np.zeros(len(label), np.int64), label, score).auc[0]
        users = per_user(user, label, score)
    assert area == pytest.approx(case["auc"], abs=1e-12)
    assert int((~np.isnan(users.auc)).sum()) == case["valid_users"]
    if case["valid_users"]:  # Where there is none, ours is an error and PyMAL's 0.
        assert gauc(users) == pytest.approx(case["gauc"], abs=1e-12)
