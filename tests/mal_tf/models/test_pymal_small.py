"""A small case per model, without the shared folder: ours, an independent NumPy implementation, and what it gave once."""

import json
import pathlib

import numpy as np
import pytest

from features.keras2 import keras, tf
from mal_tf.training import gradients
from mal_tf.training.config import TrainingConfig
from mal_tf.training.trainer import Trainer
from tests.mal_tf.models import pymal
from tests.mal_tf.models.pymal_numpy import VIEWS, Reference

GOLDEN = pathlib.Path(__file__).parents[2] / "golden/pymal/small.json"
AUX = ["first", "mta", "linear"]
CASES = {f"{model}_last": (model, "last", [] if model == "BASE" else AUX) for model in pymal.MODEL}
CASES |= {
    "NATAL_last_cartesian": ("NATAL", "last", [*AUX, "cartesian"]),
    "MoAE_mta_cartesian": ("MoAE", "mta", ["last", "first", "linear", "cartesian"]),
    "MoAE_last_auxlast": ("MoAE", "last", ["last"]),
}
WIDTH, TIERS, TIME, BATCH = 4, 8, 3, 5
EXPERT, TOWER = 6, (5, 4, 3)
SIZES = {"tiers": TIERS, "bottom_units": [EXPERT], "expert_units": [EXPERT], "tower_units": TOWER, "gate_rank": 2}


def make(name):
    """Random parameters and inputs; the generator's streams are fixed by NumPy."""
    model, main, aux = CASES[name]
    generator = np.random.default_rng([7, *name.encode()])
    meta = {"model": model, "main_view": main, "aux_views": aux, "hidden_dim": WIDTH, "seq_len": TIME}
    meta |= {"user_cols": ["user_feat0"], "ad_cols": ["ad_feat0", "context_feat0"], "seq_cols": ["ad_feat0_seq"]}
    meta["vocab_sizes"] = {"user_feat0": 3, "ad_feat0": 5, "context_feat0": 2}
    fused, views = 4 * WIDTH + TIERS, list(dict.fromkeys((main, *aux)))
    p = {}

    def linear(layer, into, out, bias=True):
        p[f"{layer}.weight"] = generator.normal(size=(out, into)) / into**0.5 * 1.5
        if bias:
            p[f"{layer}.bias"] = generator.normal(size=out) * 0.5

    for feature, rows in meta["vocab_sizes"].items():
        p[f"EmbeddingTable.embs_table.{feature}.weight"] = generator.normal(size=(rows, WIDTH))
    linear("FC.queryproj0", 2 * WIDTH, WIDTH)
    attention = "CrossAtten.0.cross_attn"
    p[f"{attention}.in_proj_weight"], p[f"{attention}.in_proj_bias"] = (
        generator.normal(size=shape) for shape in ((3 * WIDTH, WIDTH), 3 * WIDTH)
    )
    linear(f"{attention}.out_proj", WIDTH, WIDTH)
    for kind in ("Pic", "Text"):
        p[f"DeepSet{kind}.bin_embs"] = generator.normal(size=(TIERS, 1))
    p["fused_norm.weight"], p["fused_norm.bias"] = 1 + 0.3 * generator.normal(size=fused), generator.normal(size=fused)
    own = [f"expert{view}0" for view in views]
    experts = {
        "MMoE": ["expert0", "expert1"],
        "PLE": ["expert0", *own],
        "HoME": ["expert0", *own],
        "MoAE": ["expert0", *own],
    }
    for expert in experts.get(model, ["expert"]):
        linear(f"EXPERT.{expert}.senet.fc.0", WIDTH, 1, bias=False)
        linear(f"EXPERT.{expert}.senet.fc.2", 1, WIDTH, bias=False)
        linear(f"EXPERT.{expert}.fc1", fused, EXPERT)
    for view in views:
        linear(f"FC.{view}gate", fused, 2)
        widths = (EXPERT, *TOWER, 16 if view == "cartesian" else 2)
        for level in range(2, 6):
            linear(f"FC.{view}fc{level}", *widths[level - 2 : level])
    for level, width in enumerate(TOWER, 2):
        linear(f"FC.fusion{level}", width * (len(aux) + 1), width)
    for gate in ("public0", *(f"private{view}0" for view in views)):
        linear(f"FEAGATE.{gate}.lora_A", fused, 2, bias=False)
        linear(f"FEAGATE.{gate}.lora_B", 2, fused, bias=False)
    inputs = {
        "user": generator.integers(0, 3, (BATCH, 1)),
        "ad": np.stack([generator.integers(0, 5, BATCH), generator.integers(0, 2, BATCH)], axis=1),
        "seq": generator.integers(0, 5, (BATCH, 1, TIME)),
        "mm": np.clip(generator.normal(size=(BATCH, 2, TIME)), -1, 1).astype("f"),
        "label": {view: generator.integers(0, 2, BATCH) for view in VIEWS},
    }
    inputs["mm"][0, :, :2], inputs["seq"][0] = [[0.25, -1e-7], [-0.0, 1.0]], 0
    return p, inputs, meta


@pytest.fixture(autouse=True)
def float64():
    keras.backend.set_floatx("float64")
    keras.mixed_precision.set_global_policy("float64")  # It wins over the type of floats once a training has set it.
    yield
    keras.mixed_precision.set_global_policy("float32")
    keras.backend.set_floatx("float32")


@pytest.mark.parametrize("name", CASES)
def test_small_case(name):
    p, inputs, meta = make(name)
    reference = Reference(p, inputs, meta)
    expected, losses = reference.probabilities(), reference.losses()
    stored = json.loads(GOLDEN.read_text())[name]
    for view, values in stored["prob"].items():
        np.testing.assert_allclose(expected[view], values, rtol=0, atol=1e-12)
    assert losses == pytest.approx(stored["loss"], abs=1e-12)

    network = pymal.build(meta, **SIZES)
    pymal.set_parameters(network, p, meta)
    arrays = {f"input/{key}": value for key, value in inputs.items() if key != "label"}
    rows = pymal.rows_of(arrays, meta)
    found = pymal.probabilities(network, rows, meta)
    assert found.keys() == expected.keys()
    for view, values in expected.items():
        np.testing.assert_allclose(found[view], values, rtol=0, atol=1e-12)

    labels = {view: tf.constant(values, tf.float64) for view, values in inputs["label"].items()}
    labels["mature"] = tf.ones(BATCH, tf.int64)
    config = TrainingConfig(loss="pymal", auxiliary_weight=0.3, cat_weight=0.3)
    trainer = Trainer(network, pymal.targets_of(meta), config)
    variables = network.model.trainable_variables
    with tf.GradientTape() as tape:
        total = trainer.compute_loss((rows, labels), training=True)
    assert float(total) == pytest.approx(losses["total"], abs=1e-12)
    # The gradient along a random direction of all parameters, against central differences of the reference.
    generator, step = np.random.default_rng(1), 1e-6
    direction = {key: generator.normal(size=array.shape) for key, array in p.items()}
    ends = [
        Reference({k: a + s * direction[k] for k, a in p.items()}, inputs, meta).losses()["total"]
        for s in (step, -step)
    ]
    ours = pymal.arrays_of(direction, meta)
    along = {
        weight.ref(): part
        for layer in network.model.layers
        for weight, part in zip(layer.weights, ours.get(layer.name, ()), strict=True)
    }
    found = gradients.inner(
        [tf.convert_to_tensor(g) for g in tape.gradient(total, variables)],
        [tf.constant(along[variable.ref()]) for variable in variables],
    )
    assert float(found) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-8)
