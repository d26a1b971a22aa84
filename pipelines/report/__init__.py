"""The report: one self-contained HTML page about a run's data, models and metrics."""
