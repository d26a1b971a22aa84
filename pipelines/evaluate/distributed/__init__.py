"""The evaluation job: labelled TFRecords and SavedModels to `metrics.json`, for splits that do not fit one machine."""
