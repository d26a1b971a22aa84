"""Floor 3: the jobs and the command line."""

import mal_tf  # noqa: F401 - selects Keras 2 before anything imports TensorFlow
