"""The label job: raw click and conversion logs to labelled TFRecords."""
