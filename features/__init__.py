"""Floor 1: what a click is. Feature specification, tables, tf.Example codec, vocabularies, lookup.

Importing this package selects Keras 2 for everything above it: see `features.keras2`.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # 2 still prints TensorFlow's complaints about absent CUDA plug-ins
