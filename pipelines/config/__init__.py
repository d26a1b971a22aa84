"""The run's configuration: what a run's YAML file may say, block by block."""
