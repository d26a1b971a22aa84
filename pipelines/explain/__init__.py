"""Explains clicks: their journeys and each mechanism's credits, recomputed from the logs."""
