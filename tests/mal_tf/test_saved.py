"""What Keras saves of mal-tf, a fresh process loads after `import mal_tf` alone: configs, weights and outputs."""

import json
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

import mal_tf
from features.keras2 import keras, tf
from features.spec import FeatureSpec
from mal_tf import layers, losses
from mal_tf.models.catalog import MODELS
from mal_tf.models.config import used_keys
from mal_tf.training.adam import Adam
from mal_tf.training.sgd import SGD

SPEC = FeatureSpec.model_validate(
    {
        "features": [
            {"type": "categorical", "name": "place"},
            {"type": "categorical", "name": "shop", "hash_lookups": 2},
            {"type": "categorical", "name": "item", "dtype": "int64"},
            {"type": "numeric", "name": "price"},
            {"type": "history", "name": "seen", "of": "item", "length": 3},
            {"type": "similarity", "name": "alike", "length": 4},
        ],
        "vocabulary": {"hash_buckets": 50},
    }
)
VOCABULARIES = {"place": ["a", "b"], "item": ["1", "2"], "price": ["1.0", "2.0"]}
RAW = {
    "place": np.array(["a", "none"], object),
    "shop": np.array(["x", "y"], object),
    "item": np.array([1, 9]),
    "price": np.array([0.5, 1.5], np.float32),
    "seen": np.array([[1, 2], [9, 2]]),
    "alike": np.array([[0.5, -0.5], [0.9, np.nan]], np.float32),
}
TARGETS = ("first", "last", "linear")
SMALL = {"embedding_dim": 4, "bottom_units": (4,), "expert_units": (4,), "tower_units": (4, 2), "fusion_units": (4,)}

#: A plug-in's model with a layer on a list of a tensor per target.
SHOP, PLUGIN = "mal_tf_shop.model", pathlib.Path(__file__).parents[1] / "plugins/shop"

#: Models of a single feature and a single target, in which Keras 2 loads every list as its only tensor: features, and keys of
#: the model.
HASHED = [{"type": "categorical", "name": "place", "hash_lookups": 1}]
ALIKE = [{"type": "similarity", "name": "alike", "length": 4}]
SINGLE = {
    **{f"single_{name}": (HASHED, {"name": name, "cat": False, "experts": 1}) for name in (*MODELS, SHOP)},
    "single_similarity": (ALIKE, {"name": "base", "compatibility": "pymal", "senet": False}),
}

X, K, MASK = (3,), (5, 3), (5,)

#: A layer with the shapes of its inputs.
LAYERS = [
    (layers.Expert([4, 2], normalized=True, senet_width=3), X),
    (layers.FeatureGate(3), X),
    (layers.Gate(), (X, [(2,), (2,)])),
    (layers.KnowledgeFusion([3]), (X, (2,))),
    (layers.MLP([3]), X),
    (layers.MultiHeadTargetAttention(3), (X, K, MASK)),
    (layers.SelfGate(), (X, [(2,)])),
    (layers.SimTier(8), X),
    (layers.SqueezeExcitation(3, 2), X),
    (layers.StackedEmbedding({"item": 3, "a": 2}, 4), {"item": [(), (2,)], "a": [()]}),
    (layers.TargetAttention([3]), (X, K, MASK)),
    (layers.TowerFusion(), (X, [(2,)])),
]

LOSSES = {
    "floored": (losses.FlooredCrossEntropy(cat=False), [[1.0], [0.0]], [[0.3], [-2.0]]),
    "floored_cat": (losses.FlooredCrossEntropy(cat=True), [1, 0], [[0.3, 1.0], [-2.0, 0.5]]),
    "weighted": (losses.cross_entropy(cat=False), [[1.0], [0.0]], [[0.3], [-2.0]]),
    "cat": (losses.cross_entropy(cat=True), [1, 0], [[0.3, 1.0], [-2.0, 0.5]]),
}

OPTIMIZERS = {
    "adam": Adam(0.1, lazy=True),
    "sgd": SGD(0.2),
}

#: Run in the fresh process.
SCRIPT = """
import json, pickle, sys
import mal_tf
import tf_keras as keras
import numpy as np
import tensorflow as tf

folder = sys.argv[1]
with open(folder + "/cases.pickle", "rb") as file:
    cases = pickle.load(file)
result = {}
for name, (inputs, expected) in cases["models"].items():
    if "mal_tf_shop" in name:
        import mal_tf_shop.model
    model = keras.models.load_model(folder + "/" + name)
    found = {key: np.asarray(value) for key, value in model(tf.nest.map_structure(tf.constant, inputs), training=False).items()}
    result[name] = max(float(np.nan_to_num(np.abs(found[key] - expected[key]), nan=9).max()) for key in expected)
for name, (config, target, logits) in cases["losses"].items():
    result[name] = float(keras.losses.deserialize(config)(tf.constant(target), tf.constant(logits)))
for name, config in cases["optimizers"].items():
    optimizer = keras.optimizers.deserialize(config)
    result[name] = type(optimizer).__module__, optimizer.get_config().get("lazy"), float(optimizer.learning_rate)
print(json.dumps(result))
"""


def inputs_of(shapes, feature=None):
    """Keras inputs in the structure of some shapes; of a mask, booleans, of an embedding's feature, rows."""
    if isinstance(shapes, dict):
        return {name: inputs_of(parts, name) for name, parts in shapes.items()}
    if isinstance(shapes, list) or (shapes and isinstance(shapes[0], tuple)):
        return type(shapes)(inputs_of(part, feature) for part in shapes)
    return keras.Input(shapes, dtype="int32" if feature else "bool" if shapes == MASK else "float32")


def values_of(tensor, generator):
    shape = [2, *tensor.shape[1:]]
    if tensor.dtype == tf.float32:
        return generator.normal(size=shape).astype(np.float32)
    return generator.integers(2, size=shape).astype(tensor.dtype.as_numpy_dtype)


def of_layer(layer, shapes):
    """A model of one layer, whose weights are not their initial values."""
    generator, inputs = np.random.default_rng(3), inputs_of(shapes)
    outputs = dict(enumerate(tf.nest.flatten(layer(inputs))))
    model = keras.Model(tf.nest.flatten(inputs), {f"output_{number}": values for number, values in outputs.items()})
    model.set_weights([weight + generator.random(weight.shape).astype("f") for weight in model.get_weights()])
    return model, [values_of(tensor, generator) for tensor in model.inputs]


def of_model(name):
    """A model from raw features to the logits of all its heads."""
    config = mal_tf.ModelConfig.model_validate(used_keys({"name": name, "primary": "last", **SMALL}))
    lookup = mal_tf.lookup_model(SPEC, VOCABULARIES)
    network = mal_tf.build(SPEC, VOCABULARIES, config, config.targets(TARGETS))
    return keras.Model(lookup.input, network.model(lookup.output))


def of_single(features, keys):
    """A model of one feature and one target."""
    hashed = {"hash_buckets": 5} if "hash_lookups" in features[0] else {}
    spec = FeatureSpec.model_validate({"features": features, "vocabulary": hashed})
    config = mal_tf.ModelConfig.model_validate(used_keys({"primary": "last", **SMALL, **keys}))
    lookup = mal_tf.lookup_model(spec, {})
    return keras.Model(lookup.input, mal_tf.build(spec, {}, config, ["last"]).model(lookup.output))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder, models = tmp_path_factory.mktemp("saved"), {}

    def save(name, model, inputs, **options):
        expected = {key: values.numpy() for key, values in model(inputs, training=False).items()}
        model.save(str(folder / name), **options)
        models[name] = inputs, expected

    for layer, shapes in LAYERS:
        save(f"{type(layer).__name__}.keras", *of_layer(layer, shapes))
    raw = {name: tf.constant(values) for name, values in RAW.items()}
    for name in MODELS:
        model = of_model(name)
        expected = {key: values.numpy() for key, values in model(raw, training=False).items()}
        for saved, options in ((f"{name}.keras", {}), (name, {"save_format": "tf"})):
            model.save(str(folder / saved), **options)
            models[saved] = RAW, expected
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGIN)
        for name, single in SINGLE.items():
            model = of_single(*single)
            save(f"{name}.keras", model, {key: raw[key] for key in model.input})
            models[f"{name}.keras"] = {key: RAW[key] for key in model.input}, models[f"{name}.keras"][1]
    cases = {
        "models": models,
        "losses": {name: (keras.losses.serialize(loss), *values) for name, (loss, *values) in LOSSES.items()},
        "optimizers": {name: keras.optimizers.serialize(optimizer) for name, optimizer in OPTIMIZERS.items()},
    }
    (folder / "cases.pickle").write_bytes(pickle.dumps(cases))
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder)]
    path = os.pathsep.join([str(PLUGIN), *sys.path])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("layer", [layer for layer, _ in LAYERS], ids=lambda layer: type(layer).__name__)
def test_layer(loaded, layer):
    assert loaded[f"{type(layer).__name__}.keras"] < 1e-6


def test_no_layer_is_left_out():
    assert sorted(type(layer).__name__ for layer, _ in LAYERS) == sorted(layers.__all__)


@pytest.mark.parametrize("saved", [*(f"{name}.keras" for name in MODELS), *MODELS])
def test_model(loaded, saved):
    assert loaded[saved] < 1e-6


@pytest.mark.parametrize("name", SINGLE)
def test_single_feature_and_target(loaded, name):
    assert loaded[f"{name}.keras"] < 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_loss(loaded, name):
    loss, target, logits = LOSSES[name]
    assert loaded[name] == pytest.approx(float(loss(tf.constant(target), tf.constant(logits))), abs=1e-6)


def test_optimizers(loaded):
    assert loaded["adam"] == ["mal_tf.training.adam", True, pytest.approx(0.1)]
    assert loaded["sgd"] == ["mal_tf.training.sgd", None, pytest.approx(0.2)]


@pytest.mark.parametrize(
    "imports",
    [
        "import tf_keras as keras, mal_tf",
        "import mal_tf, tensorflow as tf; keras = tf.keras",
        "from mal_tf import keras",
        "import mal_tf; from features.keras2 import keras",
        "import mal_tf; from mal_tf.layers import MLP; import tf_keras as keras",
        "from mal_tf.models.network import Network; import tf_keras as keras",
        "import mal_tf, tensorflow_recommenders; import tf_keras as keras",
    ],
)
def test_order_of_imports(imports):
    names = ["MLP", "TokenLookup", "FlooredCrossEntropy", "Adam"]
    code = f"{imports}; assert all(keras.utils.get_registered_object(f'mal_tf>{{name}}') for name in {names})"
    subprocess.run([sys.executable, "-c", code], check=True)
