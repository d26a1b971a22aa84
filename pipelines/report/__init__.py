"""The report: one page that shows what a run made, for people who decide (`docs/report.md`)."""
