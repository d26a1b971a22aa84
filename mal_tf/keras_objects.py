"""Imports all modules with Keras objects of mal-tf, which registers them, so that any saved model can be loaded.

Keras resolves the classes in a saved model by their registered names, such as `mal_tf>MLP`, and a class is registered when its
module is imported. `import mal_tf` causes this module to be imported together with Keras (`mal_tf.keras_hook`).
"""

import tensorflow_recommenders  # noqa: F401 - the cross layer

import features.lookup  # noqa: F401
import mal_tf.layers
import mal_tf.training.adam
import mal_tf.training.losses
import mal_tf.training.optimizers
import mal_tf.training.sgd  # noqa: F401
