"""The label job, which turns raw click and conversion logs into TFRecord files of labelled clicks."""
