"""A model: every target has a tower, and the primary's head reads a learnt blend of all of them."""

import pydantic

from features.keras2 import keras, tf
from mal_tf.layers.tower import MLP
from mal_tf.models.config import BottomConfig
from mal_tf.models.network import Head, Network, bottom, logit


class Config(BottomConfig):
    """Keys of models on a shared bottom, and one of this model's own.

    Attributes:
        initial_sum: of the blend's weights.
    """

    initial_sum: float = pydantic.Field(1.0, gt=0)


@keras.utils.register_keras_serializable("mal_tf_shop")
class Blend(keras.layers.Layer):
    """Σ_t w_t · tower_t, a weight per target; `initial_sum` is their sum at first."""

    #: A warm start takes the weights over only where the targets are the same; the report draws `title`.
    mixes_targets = True
    title = "blend of towers"

    def __init__(self, initial_sum: float = 1.0, **options):
        super().__init__(**options)
        self.initial_sum = initial_sum

    def build(self, shapes):
        """See base class."""
        count = len(shapes) if isinstance(shapes, list) else 1
        initial = keras.initializers.Constant(self.initial_sum / count)
        self.shares = self.add_weight("shares", [count], initializer=initial)
        super().build(shapes)

    def call(self, towers: list[tf.Tensor]) -> tf.Tensor:
        """Float [batch, any] each to float [batch, any]."""
        # Keras 2 loads a layer that was called on a list of one tensor as called on that tensor.
        towers = towers if isinstance(towers, list) else [towers]
        return tf.add_n([share * tower for share, tower in zip(tf.unstack(self.shares), towers, strict=True)])

    def get_config(self) -> dict:
        """See base class."""
        return super().get_config() | {"initial_sum": self.initial_sum}


def build(spec, sizes, config, targets) -> Network:
    """Shared bottom → a tower per target → logits; the primary's on the blend."""
    inputs, v = bottom(spec, sizes, config)
    vectors = {target: MLP(config.tower_units, name=f"{target}_tower")(v) for target in targets}
    vectors[config.primary] = Blend(config.initial_sum, name="blend")(list(vectors.values()))
    order = [config.primary, *(target for target in targets if target != config.primary)]
    outputs = {target: logit(vectors[target], target, config) for target in order}
    heads = tuple(Head(target, target, primary=target == config.primary) for target in order)
    return Network(keras.Model(inputs, outputs, name="blend_of_towers"), heads)
