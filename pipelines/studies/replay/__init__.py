"""The A/B replay, in which models bid under budgets for the clicks of a simulated market; see docs/replay.md."""
