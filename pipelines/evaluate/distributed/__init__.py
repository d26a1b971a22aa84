"""The evaluation job: evaluation as a Beam pipeline, for splits that do not fit into the memory of one machine."""
