"""The single import of TensorFlow Data Validation, which silences its message on import."""

import contextlib
import io

with contextlib.redirect_stderr(io.StringIO()):  # On import it prints that notebook display needs IPython.
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.utils.display_util import get_statistics_html

__all__ = ["get_statistics_html", "tfdv"]
