"""PyMAL's parameters in our models: a spec and a config of its features, and which array goes into which layer."""

import numpy as np

from features.keras2 import keras, tf
from features.spec import CategoricalFeature, FeatureSpec, HistoryFeature, SimilarityFeature
from mal_tf.models import factory
from mal_tf.models.config import CAT, ModelConfig, config_class

MODEL = {
    "BASE": "base",
    "ShareBottom": "shared_bottom",
    "MMoE": "mmoe",
    "PLE": "ple",
    "HoME": "home",
    "NATAL": "natal",
    "MoAE": "moae",
}
VIEW = {"cartesian": CAT}  # What PyMAL calls our views.
SHARED = "all.shared"


def spec_of(meta):
    """PyMAL's columns."""
    names = [*meta["user_cols"], *meta["ad_cols"]]
    scalars = tuple(CategoricalFeature(type="categorical", name=name) for name in names)
    histories = tuple(
        HistoryFeature(type="history", name=name, of=name.removesuffix("_seq"), length=meta["seq_len"])
        for name in meta["seq_cols"]
    )
    kinds = [SimilarityFeature(type="similarity", name=name, length=meta["seq_len"]) for name in ("picture", "words")]
    return FeatureSpec(features=(*scalars, *histories, *kinds))


def rows_of(case, meta):
    """The inputs as our models take them."""
    columns = {name: case["input/user"][:, i] for i, name in enumerate(meta["user_cols"])}
    columns |= {name: case["input/ad"][:, i] for i, name in enumerate(meta["ad_cols"])}
    columns |= {name: case["input/seq"][:, i] for i, name in enumerate(meta["seq_cols"])}
    rows = {name: tf.constant(values, tf.int32) for name, values in columns.items()}
    similarities = tf.constant(case["input/mm"], keras.backend.floatx())
    return rows | {"picture": similarities[:, 0], "words": similarities[:, 1]}


def targets_of(meta):
    """The views in the order of our mechanisms: the one of the cartesian label's bits if there is one."""
    views = dict.fromkeys((meta["main_view"], *meta["aux_views"]))
    return ("last", "first", "linear", "mta") if "cartesian" in views else tuple(views)


def build(meta, **sizes):
    """Our model of a case, with `compatibility: pymal` and random weights."""
    name = MODEL[meta["model"]]
    sizes |= {"cat": "cartesian" in meta["aux_views"]}
    config = ModelConfig(
        name=name,
        primary=meta["main_view"],
        auxiliaries=[view for view in meta["aux_views"] if view != "cartesian"],
        compatibility="pymal",
        embedding_dim=meta["hidden_dim"],
        query=meta["ad_cols"],
        **{key: value for key, value in sizes.items() if key in config_class((name,)).model_fields},
    )
    return factory.build(config.name, spec_of(meta), meta["vocab_sizes"], config, targets_of(meta))


def arrays_of(tensors, meta):
    """Our layers' weights by layer name, each a list in the layer's order, made of PyMAL's named tensors.

    The map is linear and holds for gradients as well as for parameters.
    """

    def linear(name):
        bias = [tensors[f"{name}.bias"]] if f"{name}.bias" in tensors else []
        return [tensors[f"{name}.weight"].T, *bias]

    def expert(name):
        return [array for part in ("senet.fc.0", "senet.fc.2", "fc1") for array in linear(f"EXPERT.{name}.{part}")]

    tables = [tensors[f"EmbeddingTable.embs_table.{name}.weight"] for name in (*meta["user_cols"], *meta["ad_cols"])]
    found = {f"embedding_{meta['hidden_dim']}": [np.concatenate(tables)]}
    for i, name in enumerate(meta["seq_cols"]):
        found[f"query_{name}"] = linear(f"FC.queryproj{i}")
        attention = f"CrossAtten.{i}.cross_attn"
        kernels = np.split(tensors[f"{attention}.in_proj_weight"], 3)
        query, _, value = np.split(tensors[f"{attention}.in_proj_bias"], 3)
        parts = [kernels[0].T, query, kernels[1].T, kernels[2].T, value]  # The keys' bias changes no output.
        found[f"attention_{name}"] = [*parts, *linear(f"{attention}.out_proj")]
    found["tiers_picture"] = [tensors["DeepSetPic.bin_embs"][:, 0]]
    found["tiers_words"] = [tensors["DeepSetText.bin_embs"][:, 0]]
    found["layer_norm"] = [tensors["fused_norm.weight"], tensors["fused_norm.bias"]]
    model, main, views = meta["model"], meta["main_view"], _views(meta)
    if model in ("BASE", "ShareBottom", "NATAL"):
        found["bottom"] = expert("expert")
    if model == "MMoE":
        found |= {f"expert_{i}": expert(f"expert{i}") for i in range(2)}
        found |= {f"{view}_gate": linear(f"FC.{view}gate") for view in views}
    if model in ("PLE", "HoME", "MoAE"):
        gate = "gate" if model == "HoME" else "gate_1"
        found[f"{SHARED}_expert_1_0"] = expert("expert0")
        for view in views:
            ours = VIEW.get(view, view)
            found[f"{ours}_expert_1_0"] = expert(f"expert{view}0")
            found[f"{ours}_{gate}"] = linear(f"FC.{view}gate")
    if model == "HoME":
        for ours, theirs in ({SHARED: "public"} | {view: f"private{view}" for view in views}).items():
            loras = [linear(f"FEAGATE.{theirs}0.lora_{half}") for half in "AB"]
            found[f"{ours}_feature_gate_1"] = [array for lora in loras for array in lora]
    fused = model in ("NATAL", "MoAE")
    for view in (main,) if model == "BASE" else views:
        ours, layers = VIEW.get(view, view), [linear(f"FC.{view}fc{level}") for level in (2, 3, 4)]
        if fused:
            found |= {f"{ours}_tower_{level}": layer for level, layer in enumerate(layers, 1)}
        else:
            found[f"{ours}_tower"] = [array for layer in layers for array in layer]
        found[ours if ours == CAT else f"{ours}_head"] = linear(f"FC.{view}fc5")
    if fused:
        for level in (1, 2, 3):
            kernel, bias = linear(f"FC.fusion{level + 1}")
            found[f"fusion_{level}"] = [_reordered(kernel, meta), bias]
    return found


def _views(meta):
    return tuple(dict.fromkeys((meta["main_view"], *meta["aux_views"])))


def _reordered(kernel, meta):
    """A fusion kernel's blocks of rows in our order of the auxiliaries."""
    ours = [name for name in (*targets_of(meta), "cartesian") if name in meta["aux_views"]]
    blocks = np.split(kernel, len(ours) + 1)
    return np.concatenate([blocks[0], *(blocks[1 + meta["aux_views"].index(name)] for name in ours)])


def set_parameters(network, tensors, meta):
    """Puts PyMAL's parameters into our model; every weight of ours gets one."""
    arrays = arrays_of(tensors, meta)
    layers = {layer.name: layer for layer in network.model.layers if layer.weights}
    assert set(arrays) == set(layers), set(arrays) ^ set(layers)
    for name, layer in layers.items():
        shapes = [tuple(weight.shape) for weight in layer.weights]
        assert [array.shape for array in arrays[name]] == shapes, name
        layer.set_weights(arrays[name])


def probabilities(network, rows, meta):
    """PyMAL's outputs by PyMAL's names: [batch, classes]."""
    outputs = {name: value.numpy() for name, value in network.model(rows).items()}
    return {
        view: np.asarray(tf.nn.softmax(outputs[CAT]))
        if view == "cartesian"
        else np.stack([1 / (1 + np.exp(outputs[view])), 1 / (1 + np.exp(-outputs[view]))], axis=1)
        for view in _views(meta)
        if VIEW.get(view, view) in outputs
    }
