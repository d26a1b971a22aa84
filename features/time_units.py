"""Lengths of hours and days, in the units that timestamps and configs count in."""

SECONDS_PER_HOUR = 3_600
SECONDS_PER_DAY = 86_400
MINUTES_PER_DAY = 1_440
