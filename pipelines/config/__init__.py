"""Configuration of a run, that is the schema of its YAML file, one module per group of blocks."""
