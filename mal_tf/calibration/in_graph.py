"""Calibration as a part of the TensorFlow graph of an exported model."""

import numpy as np

from features.keras2 import tf
from features.spec import Feature
from mal_tf.calibration.calibration import Calibration
from mal_tf.calibration.curve import LIMIT

#: Distance between the keys of one curve and those of the next, larger than the range of logits.
_APART = 4 * LIMIT


class ServedCalibration:
    """Maps logits and raw features to calibrated probabilities, by a table lookup, a binary search and interpolation.

    The pieces of all curves are stored in one sequence and found by the key: number of the curve · `_APART` + logit.

    Args:
        calibration: the curves.
        by: the slicing feature; None without slices.

    Attributes:
        tables: lookup tables of the graph.
    """

    def __init__(self, calibration: Calibration, by: Feature | None = None):
        self._feature = by.name if by else ""
        self.tables: list[tf.lookup.StaticHashTable] = []
        curves = calibration.curves
        starts = [np.append(-LIMIT, curve.x) + number * _APART for number, curve in enumerate(curves)]
        self._starts = np.concatenate(starts)[np.newaxis]
        self._x = np.concatenate([np.append(curve.x[0], curve.x) for curve in curves])
        self._y = np.concatenate([np.append(curve.y[0], curve.y) for curve in curves])
        inner = (np.diff(curve.y) / np.diff(curve.x) for curve in curves)
        ends = (curve.slope for curve in curves)
        self._slope = np.concatenate([[end, *between, end] for end, between in zip(ends, inner, strict=True)])
        if by is not None and calibration.slices:
            parse = str if by.dtype == "string" else int
            keys = tf.constant([parse(token) for token in calibration.slices], by.dtype)
            numbers = tf.range(1, len(curves), dtype=tf.int64)
            initial = tf.lookup.KeyValueTensorInitializer(keys, numbers)
            self.tables.append(tf.lookup.StaticHashTable(initial, default_value=0))

    def __call__(self, logits: tf.Tensor, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Calibrates a batch.

        Args:
            logits: float [batch].
            raw: values by feature name; those of the slicing feature are [batch], or [1] for the whole batch.

        Returns:
            float32 [batch], probabilities.
        """
        logits = tf.clip_by_value(tf.cast(logits, tf.float64), -LIMIT, LIMIT)
        keys = logits
        for table in self.tables:
            keys += tf.cast(table.lookup(raw[self._feature]), tf.float64) * _APART
        # tf.searchsorted does not support an empty batch.
        piece = tf.raw_ops.UpperBound(sorted_inputs=self._starts, values=keys[tf.newaxis])[0] - 1
        x, y, slope = (tf.gather(values, piece) for values in (self._x, self._y, self._slope))
        return tf.cast(tf.sigmoid(y + slope * (logits - x)), tf.float32)
