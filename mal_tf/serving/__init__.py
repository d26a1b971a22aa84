"""Serving: the SavedModel that outputs the primary target's CVR."""
