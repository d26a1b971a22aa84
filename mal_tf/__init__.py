"""Floor 2: the method. Attribution, layers, models, training, evaluation, serving."""

import features  # noqa: F401 - selects Keras 2 before anything imports TensorFlow

__version__ = "0.1.0"
