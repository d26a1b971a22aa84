"""What every model shares: the network with its heads, and the way from rows to the shared bottom."""

import dataclasses
from collections.abc import Mapping

import tensorflow_recommenders as tfrs

from features.keras2 import keras, tf
from features.spec import FeatureSpec
from mal_tf.layers.attention import TargetAttention
from mal_tf.layers.tower import MLP
from mal_tf.models.config import ModelConfig

#: Target of a head that predicts the CAT class of all targets.
CAT = "cat"


@dataclasses.dataclass(frozen=True)
class Head:
    """One output of a network.

    Attributes:
        output: name of the output.
        target: the mechanism whose label it predicts, or `CAT`.
        primary: whether it is the one that is served.
    """

    output: str
    target: str
    primary: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """A model and what its outputs mean.

    Attributes:
        model: functional model: embedding rows by feature name (see `features.lookup`) to logits by output name,
            float32 [batch], for a CAT head [batch, 2^N].
        heads: one per output, the primary first.
    """

    model: keras.Model
    heads: tuple[Head, ...]

    @property
    def primary(self) -> Head:
        """The head that is served."""
        return self.heads[0]

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """Trainable variables of the embedding tables."""
        tables = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Embedding)]
        return [variable for table in tables for variable in table.trainable_variables]


def bottom(spec: FeatureSpec, sizes: Mapping[str, int], config: ModelConfig) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Embeds a click and brings it to the shared bottom's vector v.

    Each scalar feature has a table; a history uses the table of its feature, and that feature's embedding attends over
    it. All are concatenated, crossed (DCN-v2, `tfrs.layers.dcn.Cross`) and sent through the bottom's MLP.

    Args:
        spec: features.
        sizes: rows of each scalar feature's table.
        config: widths.

    Returns:
        inputs: int32 rows by feature name: scalars [batch], histories [batch, length].
        v: float32 [batch, bottom_units[-1]].
    """
    inputs, tables, parts = {}, {}, {}
    for feature in spec.scalars:
        inputs[feature.name] = keras.Input((), dtype=tf.int32, name=feature.name)
        width = feature.embedding_dim or config.embedding_dim
        tables[feature.name] = keras.layers.Embedding(sizes[feature.name], width, name=f"embedding_{feature.name}")
        parts[feature.name] = tables[feature.name](inputs[feature.name])
    for feature in spec.histories:
        inputs[feature.name] = keras.Input((feature.length,), dtype=tf.int32, name=feature.name)
        keys, mask = tables[feature.of](inputs[feature.name]), tf.not_equal(inputs[feature.name], 0)
        attention = TargetAttention(config.attention_units, name=f"attention_{feature.name}")
        parts[feature.name] = attention((parts[feature.of], keys, mask))
    v = keras.layers.Concatenate(name="click")(list(parts.values()))
    first = v
    for number in range(config.cross_layers):
        v = tfrs.layers.dcn.Cross(name=f"cross_{number}")(first, v)
    return {f.name: inputs[f.name] for f in spec.features}, MLP(config.bottom_units, name="bottom")(v)


def logit(vector: tf.Tensor, name: str) -> tf.Tensor:
    """A head on a tower's last activation: float [batch, any] to logits float32 [batch]."""
    column = keras.layers.Dense(1, name=f"{name}_head")(vector)
    return keras.layers.Reshape((), name=name, dtype=tf.float32)(column)
