"""The report: one HTML page about a run's data, models and metrics (`docs/report.md`)."""
