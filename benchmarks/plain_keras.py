"""Builds the models of the reference workload with plain Keras, as a baseline of the training benchmark.

There is an Embedding layer per feature, a Dense per layer of a tower or expert, and Keras' own attention, losses and dense
Adam. Architecture and sizes are those of mal-tf with `compatibility: pymal`; tests compare the numbers of parameters.
"""

from collections.abc import Mapping

from benchmarks.mac_batches import SIZES, Work
from features.keras2 import keras, tf
from mal_tf.models.config import CAT


def build(name: str, work: Work) -> keras.Model:
    """Build and compile `base`, `natal` or `moae`, from rows by feature to logits by target, with two classes each.

    The function `labels` makes its labels.
    """
    config, spec, dense = work.model, work.spec, keras.layers.Dense
    inputs = {f.name: keras.Input((), dtype=tf.int32, name=f.name) for f in spec.scalars}
    inputs |= {f.name: keras.Input((f.length,), dtype=tf.int32, name=f.name) for f in spec.histories}
    similarities = [feature for feature in spec.features if feature.type == "similarity"]
    inputs |= {f.name: keras.Input((f.length,), name=f.name) for f in similarities}
    width = config.embedding_dim
    tables = {f.name: keras.layers.Embedding(SIZES[f.name], width) for f in spec.scalars}
    scalars = {f.name: tables[f.name](inputs[f.name]) for f in spec.scalars}
    query = tf.concat([scalars[name] for name in config.query], axis=-1)
    heads = config.attention_heads
    attended = [
        keras.layers.MultiHeadAttention(heads, width // heads)(
            dense(width)(query)[:, tf.newaxis, :], tables[f.of](inputs[f.name])
        )[:, 0]
        for f in spec.histories
    ]
    tiers = tf.add_n([_Tiers(config.tiers)(inputs[f.name]) for f in similarities])
    x = keras.layers.Concatenate()([*scalars.values(), *attended, tiers])
    x = keras.layers.LayerNormalization(epsilon=1e-5)(x)
    views = () if name == "base" else (*(t for t in work.targets if t != config.primary), CAT)
    if name == "moae":
        shared = _expert(x, config)
        vectors = {view: _gated(x, [shared, _expert(x, config)]) for view in (config.primary, *views)}
    else:
        vectors = dict.fromkeys((config.primary, *views), _expert(x, config))
    for level, units in enumerate(config.tower_units):
        layers = {view: dense(units)(vector) for view, vector in vectors.items()}
        for view in views:
            layers[view] = keras.layers.ReLU()(layers[view])
        main = layers[config.primary]
        if views:
            main = (
                dense(units, name=f"fusion_{level}")(tf.concat([main, *(layers[view] for view in views)], axis=-1))
                + main
            )
        vectors = layers | {config.primary: keras.layers.ReLU()(main)}
    classes = {view: 2 ** len(work.targets) if view == CAT else 2 for view in vectors}
    outputs = {view: dense(classes[view], name=view)(vector) for view, vector in vectors.items()}
    model = keras.Model(inputs, outputs)
    training = work.training
    model.compile(
        optimizer=keras.optimizers.Adam(training.learning_rate, epsilon=training.adam_epsilon),
        loss={view: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for view in outputs},
        loss_weights={
            view: 1.0 if view == config.primary else training.cat_weight if view == CAT else training.auxiliary_weight
            for view in outputs
        },
    )
    return model


def labels(model: keras.Model, work: Work, float_labels: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Convert float labels by target to int32 classes of the model's outputs, the targets and CAT."""
    binary = {target: tf.cast(float_labels[target] > 0, tf.int32) for target in work.targets}
    cat = tf.add_n([binary[target] * 2**bit for bit, target in enumerate(work.targets)])
    return {name: values for name, values in (binary | {CAT: cat}).items() if name in model.output}


def _expert(x: tf.Tensor, config) -> tf.Tensor:
    chunks = tf.reshape(x, [-1, x.shape[-1] // config.embedding_dim, config.embedding_dim])
    squeezed = keras.layers.Dense(config.embedding_dim // 4, activation="relu", use_bias=False)(
        tf.reduce_mean(chunks, axis=1)
    )
    gate = keras.layers.Dense(config.embedding_dim, activation="sigmoid", use_bias=False)(squeezed)
    gated = tf.reshape(chunks * gate[:, tf.newaxis, :], [-1, x.shape[-1]])
    return keras.layers.Dense(config.expert_units[0], activation="relu")(gated)


def _gated(x: tf.Tensor, experts: list[tf.Tensor]) -> tf.Tensor:
    weights = keras.layers.Dense(len(experts), activation="softmax")(x)
    return tf.reduce_sum(weights[..., tf.newaxis] * tf.stack(experts, axis=1), axis=1)


class _Tiers(keras.layers.Layer):
    """SimTier, with one-hot vectors."""

    def __init__(self, tiers: int):
        super().__init__()
        self._tiers = tiers

    def build(self, shape):
        self._values = self.add_weight("values", [self._tiers])

    def call(self, similarities: tf.Tensor) -> tf.Tensor:
        half = self._tiers // 2
        tier = tf.cast(tf.floor(tf.clip_by_value(similarities, -0.999, 0.999) * half), tf.int32) + half
        hits = tf.reduce_sum(tf.one_hot(tier, self._tiers), axis=1)
        return tf.math.log1p(hits) / tf.math.log(2.0) * self._values
