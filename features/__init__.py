"""Features of a click: specification, click and conversion tables, tf.Example codec, vocabularies and embedding lookup.

The lowest layer of mal-tf, which imports neither `mal_tf` nor `pipelines`. Importing this package selects Keras 2 for
everything above it, see `features.keras2`.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # 2 still prints TensorFlow's complaints about absent CUDA plug-ins
