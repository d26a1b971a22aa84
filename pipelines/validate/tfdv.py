"""The single import of TensorFlow Data Validation and tfx-bsl, without the notes they print on import."""

from features.import_noise import without_import_noise

with without_import_noise():
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.utils.display_util import get_statistics_html
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

__all__ = ["ExamplesToRecordBatchDecoder", "get_statistics_html", "tfdv"]
