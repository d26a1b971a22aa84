"""Explanation of clicks: the journeys they belong to and each mechanism's credits, recomputed from the logs."""
