"""The single import of TensorFlow Data Validation and tfx-bsl, without the notes they print on import."""

from features.import_noise import without_import_noise

with without_import_noise():
    import tensorflow_data_validation as tfdv
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

__all__ = ["ExamplesToRecordBatchDecoder", "tfdv"]
