"""Scheduled retraining: trains on new days, judges the candidate against the serving model, pushes it or refuses it."""
