"""Runs: the resumable stages behind `mal-tf run`, from logs to evaluated exports."""
