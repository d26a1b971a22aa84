"""Lengths of an hour and a day in the units of timestamps and configs."""

SECONDS_PER_HOUR = 3_600
SECONDS_PER_DAY = 86_400
MINUTES_PER_DAY = 1_440
