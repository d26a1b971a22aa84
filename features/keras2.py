"""TensorFlow with Keras 2; everything else imports them from here.

tensorflow-recommenders is written against Keras 2 (`tf_keras`). In TensorFlow 2.16 and later, `tf.keras` is Keras 3 unless
`TF_USE_LEGACY_KERAS=1` is set before `tf.keras` is first used. `features/__init__.py` sets it, and this module raises an
error if `tf.keras` was used earlier.

Example:
    >>> import mal_tf
    >>> mal_tf.keras.__version__.split(".")[0]
    '2'
"""

import contextlib
import os

from features.errors import MalTfError
from features.import_noise import without_import_noise

with without_import_noise():
    import tensorflow as tf
    import tf_keras as keras

if tf.keras.layers.Layer is not keras.layers.Layer:
    raise MalTfError(
        "mal-tf needs Keras 2 (tf_keras) behind tf.keras, found Keras 3: tf.keras was used before mal_tf was imported, "
        f"or TF_USE_LEGACY_KERAS is {os.environ.get('TF_USE_LEGACY_KERAS')!r}, not '1'. Import mal_tf before tensorflow, "
        "or set TF_USE_LEGACY_KERAS=1 in the environment."
    )

# Otherwise the first `fit` of a process spends 30-75 s on converting the source of tf_keras with autograph, and on each function
# of ours, a quarter of a second. None of these has control flow that depends on tensors. Layers of extensions are converted.
with contextlib.suppress(ImportError, AttributeError):
    from tensorflow.python.autograph.core import config as _autograph_config

    _autograph_config.CONVERSION_RULES = (
        *map(_autograph_config.DoNotConvert, ("tf_keras", "features", "mal_tf")),
        *_autograph_config.CONVERSION_RULES,
    )

__all__ = ["keras", "tf"]
