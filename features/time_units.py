"""Lengths of an hour and a day in the units of timestamps and configs, and the units of timestamps."""

import datetime

SECONDS_PER_HOUR = 3_600
SECONDS_PER_DAY = 86_400
MINUTES_PER_DAY = 1_440

#: Time units in a second, by name.
UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

#: Names of the time units, by how many are in a second.
UNIT_NAMES = {units: name for name, units in UNITS_PER_SECOND.items()}

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def since_epoch(moment: datetime.datetime, units_per_second: int, up: bool = False) -> int:
    """A moment in whole time units since 1970, rounded down or up. It is taken to be in UTC if it has no time zone."""
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    microseconds = (zoned - _EPOCH) // datetime.timedelta(microseconds=1)
    sign = -1 if up else 1
    return sign * (sign * microseconds * units_per_second // 1_000_000)
