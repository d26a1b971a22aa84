"""Initial weights as in PyMAL, so that learning curves can be compared with those of PyMAL."""

from features.keras2 import keras, tf
from mal_tf.layers.multi_head import MultiHeadTargetAttention
from mal_tf.layers.stacked_embedding import StackedEmbedding


def initialize(model: keras.Model) -> None:
    """Draws the weights of a model as PyMAL does.

    Embedding tables are N(0, 1), kernels and biases of dense layers U(±1/√fan_in). The projections of query, key and value in
    attention are U(±√(6/4d)), d their width, which is Xavier's bound for the three as one matrix, with biases of 0. SimTier
    and normalisations already start as in PyMAL.
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
