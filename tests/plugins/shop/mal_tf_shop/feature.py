"""A feature type: the hour of the day of the click, embedded, without a vocabulary."""

from typing import ClassVar

import pyarrow as pa
import pydantic

from features.feature import Feature


class Hour(Feature):
    """Hour of the day, from the click's own time.

    Attributes:
        zone: hours to add to UTC.
    """

    dtype: ClassVar[str] = "int64"

    zone: int = pydantic.Field(0, ge=-12, le=14)

    def select(self, clicks, spec) -> pa.Array:
        """See base class."""
        hours = clicks.timestamp // (3600 * clicks.units_per_second)
        return pa.array((hours + self.zone) % 24)

    def rows(self, vocabulary, config) -> int:
        """The missing value's, and one per hour."""
        return 25

    def lookup(self, vocabulary, config):
        """See base class."""
        from features.keras2 import tf

        def row(hours: tf.Tensor) -> tf.Tensor:
            return tf.where(hours < 0, 0, 1 + tf.cast(tf.math.floormod(hours, 24), tf.int32))

        return row
