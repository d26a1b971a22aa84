"""Calibration of a model: one curve for all clicks and, optionally, one for each slice that is large enough."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit

from mal_tf.calibration import Method
from mal_tf.calibration.curve import Curve, isotonic, platt

_CURVES = {"isotonic": isotonic, "platt": platt}


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibration curves for all clicks and for slices.

    Attributes:
        overall: curve for clicks whose slice has no curve of its own.
        slices: curves by token of the slicing feature, as text; the missing value is a token like any other.
    """

    overall: Curve
    slices: Mapping[str, Curve] = dataclasses.field(default_factory=dict)

    @property
    def curves(self) -> tuple[Curve, ...]:
        """The overall curve, then those of the slices in order."""
        return (self.overall, *self.slices.values())

    def __call__(self, logit: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """Calibrates logits to probabilities.

        Args:
            logit: float [clicks], logits of the model.
            values: [clicks], values of the slicing feature: int64, or strings as text or bytes; not needed without slices.

        Returns:
            float64 [clicks], calibrated probabilities.
        """
        calibrated = self.overall(logit)
        code = np.zeros(len(calibrated), np.int64) if values is None else _codes(values, list(self.slices)) + 1
        for number in np.unique(code[code > 0]):
            in_slice = code == number
            calibrated[in_slice] = self.curves[number](logit[in_slice])
        return expit(calibrated)


def fit(
    method: Method,
    logit: np.ndarray,
    label: np.ndarray,
    values: np.ndarray | None = None,
    min_positives: int = 1,
) -> Calibration:
    """Fits calibration curves on clicks that the model was not trained on.

    Each slice is fitted separately, without shrinkage towards the overall curve. Small slices therefore get no curve.

    Args:
        method: kind of the curves, see `mal_tf.calibration.curve`.
        logit: float [clicks], logits of the model.
        label: float [clicks], in [0, 1].
        values: [clicks], values of the slicing feature: int64, or strings as text or bytes. Without it, there is one curve.
        min_positives: number of clicks with a label above 0, and of clicks with one below 1, that a slice needs for a curve of
            its own; at least 1.

    Raises:
        MalTfError: the labels are all 0, or all 1.
    """
    fit_curve = _CURVES[method]
    overall = fit_curve(logit, label)
    if values is None:
        return Calibration(overall)
    tokens = _text(values).dictionary_encode()
    code, label = tokens.indices.to_numpy(), np.asarray(label)
    clicks, positives, others = (np.bincount(code, mask) for mask in (None, label > 0, label < 1))
    order, ends = np.argsort(code, kind="stable"), np.cumsum(clicks)
    slices = {}
    for number in np.flatnonzero(np.minimum(positives, others) >= min_positives):
        part = order[ends[number] - clicks[number] : ends[number]]
        slices[tokens.dictionary[number].as_py().decode()] = fit_curve(logit[part], label[part])
    return Calibration(overall, dict(sorted(slices.items())))


def to_json(calibration: Calibration) -> dict[str, Any]:
    """Converts the curves to lists of numbers, from which `from_json` restores them exactly."""
    slices = {token: _curve_to_json(curve) for token, curve in calibration.slices.items()}
    return {"overall": _curve_to_json(calibration.overall), "slices": slices}


def from_json(data: Mapping[str, Any]) -> Calibration:
    """Restores a calibration from the result of `to_json`; further keys are ignored."""

    def curve(fields: Mapping[str, Any]) -> Curve:
        return Curve(np.array(fields["x"], np.float64), np.array(fields["y"], np.float64), fields["slope"])

    return Calibration(curve(data["overall"]), {token: curve(fields) for token, fields in data["slices"].items()})


def _curve_to_json(curve: Curve) -> dict[str, Any]:
    return {"x": curve.x.tolist(), "y": curve.y.tolist(), "slope": curve.slope}


def _text(values: np.ndarray) -> pa.Array:
    """Tokens as bytes, so that tokens that are not valid UTF-8 can be compared too."""
    tokens = pa.array(values)
    return tokens if pa.types.is_binary(tokens.type) else tokens.cast(pa.string()).cast(pa.binary())


def _codes(values: np.ndarray, tokens: Sequence[str]) -> np.ndarray:
    """Index of each value in `tokens`, int64; -1 if it is none of them."""
    index = pc.index_in(_text(values), pa.array([token.encode() for token in tokens], pa.binary()))
    return index.fill_null(-1).to_numpy().astype(np.int64)
