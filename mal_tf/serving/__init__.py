"""Serving: export of SavedModels that predict the primary target's CVR, with checks, warm-up requests and latency."""

#: Name of the output of every signature.
OUTPUT = "cvr"
