"""Clicks explained: the journeys they are in and what each mechanism gives them, from the logs."""
