"""The A/B replay: models bid for the clicks of a simulated market under budgets; see docs/replay.md."""
