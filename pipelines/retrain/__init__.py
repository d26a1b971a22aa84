"""Scheduled retraining: spans, gates, blessing, push, rollback."""
