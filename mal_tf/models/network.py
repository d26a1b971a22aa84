"""Building blocks of all models: the network with its heads, the embedding of a click, the shared bottom, and towers."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow_recommenders as tfrs

from features.contract import feature_errors
from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import HASHED
from features.spec import Feature, FeatureSpec, HistoryFeature, SimilarityFeature
from mal_tf.layers.attention import TargetAttention
from mal_tf.layers.expert import Expert
from mal_tf.layers.multi_head import MultiHeadTargetAttention
from mal_tf.layers.simtier import SimTier
from mal_tf.layers.stacked_embedding import StackedEmbedding
from mal_tf.layers.tower import MLP
from mal_tf.models.config import BottomConfig, ModelConfig

#: Name of the layer whose output is the click's vector, before it is normalised and crossed.
CLICK = "click"


@dataclasses.dataclass(frozen=True)
class Head:
    """One output of a network.

    Attributes:
        output: name of the output.
        target: the mechanism whose label it predicts, or `cat` for the CAT class.
        primary: whether it is the one that is served.

    Example:
        >>> import mal_tf
        >>> mal_tf.Head(output="aka_linear", target="linear")
        Head(output='aka_linear', target='linear', primary=False)
    """

    output: str
    target: str
    primary: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """A Keras model with the meaning of its outputs, such as `mal_tf.build` returns.

    Attributes:
        model: functional model from embedding rows by feature name (`mal_tf.lookup_model`) to logits by output name, float32
            [batch], for a CAT head [batch, 2^N] with N targets.
        heads: one for each output, the primary first.

    Example:
        >>> import mal_tf
        >>> features = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "place"}])
        >>> config = mal_tf.ModelConfig(name="shared_bottom", primary="last")
        >>> network = mal_tf.build(features, {"place": ["top", "side"]}, config, ["last", "linear"])
        >>> [head.output for head in network.heads], network.model.input_shape
        (['last', 'linear'], {'place': (None,)})
    """

    model: keras.Model
    heads: tuple[Head, ...]

    @property
    def primary(self) -> Head:
        """The head that is served."""
        return self.heads[0]

    def set_output_bias(self, output: str, logits: np.ndarray) -> None:
        """Sets the bias of an output's layer so that the output is `logits` where its activations are 0.

        Args:
            output: name of an output that `logit` or `cat_logits` created.
            logits: float [], for a CAT head [2^N].

        Raises:
            ValueError: the output has no layer with a bias, see `output_layer`.
        """
        layer = self._biased_layer(output)
        two_classes = np.ndim(logits) == 0 and layer.units == 2
        layer.bias.assign(np.array([-logits / 2, logits / 2]) if two_classes else np.reshape(logits, layer.bias.shape))

    def output_bias(self, output: str) -> np.ndarray:
        """Bias of an output as logits (see `set_output_bias`): float [], for a CAT head [2^N]."""
        layer = self._biased_layer(output)
        bias = layer.bias.numpy()
        if self.model.get_layer(output) is layer:
            return bias
        return bias[1] - bias[0] if layer.units == 2 else bias[0]

    def _biased_layer(self, output: str) -> keras.layers.Dense:
        if (layer := self.output_layer(output)) is None:
            raise ValueError(f"expected an output that logit or cat_logits created, found '{output}'")
        return layer

    def output_layer(self, output: str) -> keras.layers.Dense | None:
        """The layer whose bias sets the level of an output; None if `logit` or `cat_logits` did not create the output."""
        layers = {layer.name: layer for layer in self.model.layers}
        candidates = (layers.get(name) for name in (output, f"{output}_head"))
        dense = (layer for layer in candidates if isinstance(layer, keras.layers.Dense) and layer.use_bias)
        return next(dense, None)

    def split(self) -> tuple[keras.Model, keras.Model]:
        """Splits the model in two: rows to the click's vector (lookup and attention), and that vector to logits."""
        click = self.model.get_layer(CLICK).output
        return keras.Model(self.model.input, click), keras.Model(click, self.model.output)

    @property
    def stacks(self) -> list[StackedEmbedding]:
        """Layers of the embedding tables, one per embedding width."""
        return [layer for layer in self.model.layers if isinstance(layer, StackedEmbedding)]

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """Variables of the embedding tables, one per stack."""
        return [stack.embeddings for stack in self.stacks]


def click(spec: FeatureSpec, sizes: Mapping[str, int], config: ModelConfig) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Embeds a click as the vector that experts and shared bottoms read.

    Each scalar feature has an embedding table; hashed features share one. Tables of one width are stacked
    (`StackedEmbedding`). A history uses the table of its feature, and the click attends over it. Similarities become a
    histogram (`SimTier`). The vector is the concatenation of scalars, histories, histograms and the vectors of features of
    other types (`Feature.vector`). If configured, it is normalised and crossed (DCN-v2, `tfrs.layers.dcn.Cross`).

    Args:
        spec: features.
        sizes: rows of each table (`features.lookup.table_sizes`).
        config: widths and kinds of the layers.

    Returns:
        inputs: inputs of the network by feature name, in order: int32 rows, scalars [batch] and histories [batch, length],
            with a further axis of lookups if the feature is hashed; float values of features that are not embedded, [batch]
            or [batch, length].
        x: float [batch, any], the vector.
    """
    inputs = _inputs(spec)
    embedded = _embedded(spec, inputs, sizes, config)
    parts = {feature.name: embedded[feature.name] for feature in spec.scalars}
    scalars = dict(parts)
    for feature in spec.histories:
        keys = embedded[feature.name]
        parts[feature.name] = _attended(feature, inputs[feature.name], keys, scalars, config)
    others = [f for f in spec.read_directly if not isinstance(f, HistoryFeature | SimilarityFeature)]
    own = [_own_vector(feature, embedded.get(feature.name, inputs[feature.name]), config) for feature in others]
    x = concatenated([*parts.values(), *_histograms(spec, inputs, config), *own], CLICK)
    if config.layer_norm:
        x = keras.layers.LayerNormalization(epsilon=1e-5, name="layer_norm")(x)
    first = x
    for number in range(config.cross_layers):
        x = tfrs.layers.dcn.Cross(name=f"cross_{number}")(first, x)
    return inputs, x


def _own_vector(feature: Feature, values: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    with feature_errors(feature, "vector"):
        vector = feature.vector(values, config)
        if not (keras.backend.is_keras_tensor(vector) and vector.dtype.is_floating and vector.shape.rank == 2):
            raise MalTfError(f"expected a tensor float [batch, any]; found {vector!r}")
    return vector


def concatenated(vectors: Sequence[tf.Tensor], name: str) -> tf.Tensor:
    """Concatenates vectors, each float [batch, any], in a layer called `name`, which passes a single one on unchanged."""
    # Keras 2 calls a layer that was called on a list of one tensor with that tensor when it loads the model.
    if len(vectors) == 1:
        return keras.layers.Activation("linear", name=name)(vectors[0])
    return keras.layers.Concatenate(name=name)(vectors)


def _inputs(spec: FeatureSpec) -> dict[str, tf.Tensor]:
    inputs = {}
    for feature in spec.features:
        shape = (feature.length,) if feature.sequence else ()
        lookups = (spec.hash_lookups[feature.table],) if feature.table in spec.hash_lookups else ()
        dtype = tf.int32 if feature.embedded else None
        inputs[feature.name] = keras.Input((*shape, *lookups), dtype=dtype, name=feature.name)
    return inputs


def _embedded(
    spec: FeatureSpec, inputs: Mapping[str, tf.Tensor], sizes: Mapping[str, int], config: ModelConfig
) -> dict[str, tf.Tensor]:
    """Embeddings of scalars and histories by feature, with one stack of tables per embedding width."""
    stacks: dict[int, dict[str, list[str]]] = {}
    for feature in (f for f in spec.features if f.embedded and f.table == f.name):
        users = [feature.name, *(f.name for f in spec.features if f.table == feature.name and f is not feature)]
        lookups = spec.hash_lookups.get(feature.name)
        width = getattr(feature, "embedding_dim", None) or config.embedding_dim
        table, width = (HASHED, width // lookups) if lookups else (feature.name, width)
        stacks.setdefault(width, {}).setdefault(table, []).extend(users)
    embeddings: dict[str, tf.Tensor] = {}
    for width, tables in stacks.items():
        stack = StackedEmbedding({name: sizes[name] for name in tables}, width, name=f"embedding_{width}")
        looked_up = stack({name: [inputs[user] for user in users] for name, users in tables.items()})
        for name, users in tables.items():
            embeddings |= dict(zip(users, looked_up[name], strict=True))
            if name == HASHED:
                embeddings |= {user: _side_by_side(embeddings[user], user) for user in users}
    return embeddings


def _side_by_side(looked_up: tf.Tensor, name: str) -> tf.Tensor:
    """Concatenates the lookups of a hashed feature to its embedding: [..., lookups, width] to [..., lookups · width]."""
    return keras.layers.Reshape((*looked_up.shape[1:-2], -1), name=f"side_by_side_{name}")(looked_up)


def _attended(feature, rows: tf.Tensor, keys: tf.Tensor, scalars: Mapping[str, tf.Tensor], config: ModelConfig):
    rows = rows[:, :, 0] if rows.shape.rank == 3 else rows  # The missing value is row 0 in every lookup.
    mask = tf.not_equal(rows, 0) if config.mask_padding else tf.ones_like(rows, tf.bool)
    query, name = scalars[feature.of], f"attention_{feature.name}"
    if config.attention == "din":
        return TargetAttention(config.attention_units, name=name)((query, keys, mask))
    if config.query:
        query = keras.layers.Dense(keys.shape[-1], name=f"query_{feature.name}")(
            tf.concat([scalars[name] for name in config.query], axis=-1)
        )
    return MultiHeadTargetAttention(config.attention_heads, name=name)((query, keys, mask))


def _histograms(spec: FeatureSpec, inputs: Mapping[str, tf.Tensor], config: ModelConfig) -> list[tf.Tensor]:
    histograms = [SimTier(config.tiers, name=f"tiers_{f.name}")(inputs[f.name]) for f in spec.similarities]
    return [tf.add_n(histograms)] if len(histograms) > 1 and config.compatibility == "pymal" else histograms


def bottom(spec: FeatureSpec, sizes: Mapping[str, int], config: BottomConfig) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Embeds a click (`click`) and applies the shared bottom. Returns the inputs, and v, float [batch, bottom_units[-1]]."""
    inputs, x = click(spec, sizes, config)
    return inputs, Expert(config.bottom_units, senet_width=config.senet_width, name="bottom")(x)


def logit(vector: tf.Tensor, name: str, config: ModelConfig) -> tf.Tensor:
    """Head of a mechanism on the last activation of a tower: float [batch, any] to logits [batch]."""
    columns = keras.layers.Dense(2 if config.two_class_softmax else 1, name=f"{name}_head")(vector)
    if config.two_class_softmax:  # softmax([a, b])[1] = sigmoid(b - a)
        columns = columns[:, 1:] - columns[:, :1]
    return keras.layers.Reshape((), name=name, dtype=keras.backend.floatx())(columns)


def cat_logits(vector: tf.Tensor, name: str, targets: Sequence[str]) -> tf.Tensor:
    """Head of the CAT class: float [batch, any] to logits [batch, 2^targets]."""
    head = keras.layers.Dense(2 ** len(targets), name=name, dtype=keras.backend.floatx())
    head.mixes_targets = True
    return head(vector)


def towers(
    name: str, inputs: Mapping[str, tf.Tensor], vectors: Mapping[str, tf.Tensor], config: ModelConfig
) -> Network:
    """Builds a tower and a logit per target, each on its own vector, as the multi-task baselines have them.

    Args:
        name: name of the model.
        inputs: inputs of the network, by feature name.
        vectors: float [batch, any] by target.
        config: primary target and widths.
    """
    order = sorted(vectors, key=lambda target: target != config.primary)  # The primary first, others in their order.
    outputs = {
        target: logit(MLP(config.tower_units, name=f"{target}_tower")(vectors[target]), target, config)
        for target in order
    }
    heads = tuple(Head(target, target, primary=target == config.primary) for target in order)
    return Network(keras.Model(inputs, outputs, name=name), heads)
