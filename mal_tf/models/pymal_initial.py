"""Initial values as PyMAL's framework gives them, for learning curves that can be compared."""

from features.keras2 import keras, tf
from mal_tf.layers.multi_head import MultiHeadTargetAttention
from mal_tf.layers.stacked_embedding import StackedEmbedding


def initialize(model: keras.Model) -> None:
    """Draws the weights anew: tables N(0, 1); dense layers U(±1/√fan_in), their biases too; attention's projections of
    query, key and value U(±√(6/4d)), d their width, Xavier's bound for the three as one matrix, and its biases 0.

    SimTier and the normalisations begin as PyMAL's by themselves.
    """
    attentions = [layer for layer in model.submodules if isinstance(layer, MultiHeadTargetAttention)]
    projections = {id(dense) for attention in attentions for dense in attention.projections}
    without_bias = projections | {id(attention.output_projection) for attention in attentions}
    for layer in model.submodules:
        if isinstance(layer, StackedEmbedding):
            layer.embeddings.assign(tf.random.normal(layer.embeddings.shape, dtype=layer.embeddings.dtype))
        elif isinstance(layer, keras.layers.Dense):
            fan_in, fan_out = layer.kernel.shape
            limit = (6 / (fan_in + 3 * fan_out)) ** 0.5 if id(layer) in projections else fan_in**-0.5
            _assign_uniform(layer.kernel, limit)
            if layer.use_bias and id(layer) not in without_bias:
                _assign_uniform(layer.bias, limit)


def _assign_uniform(variable: tf.Variable, limit: float) -> None:
    variable.assign(tf.random.uniform(variable.shape, -limit, limit, variable.dtype))
