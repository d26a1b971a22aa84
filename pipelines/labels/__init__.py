"""The label job: raw click and conversion logs to labelled, checked TFRecords."""
