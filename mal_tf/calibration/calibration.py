"""A model's calibration: one curve for all clicks and, on request, one for each slice that is large enough."""

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
    """Curves of all clicks and of slices.

    Attributes:
        overall: for clicks of no slice that has its own.
        slices: by token of the feature, as text; the missing value is a token like any other.
    """

    overall: Curve
    slices: Mapping[str, Curve] = dataclasses.field(default_factory=dict)

    @property
    def curves(self) -> tuple[Curve, ...]:
        """The overall one, then those of the slices in order."""
        return (self.overall, *self.slices.values())

    def __call__(self, logit: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """Calibrated probabilities.

        Args:
            logit: float [clicks], the model's.
            values: [clicks], the feature's: int64, or strings as text or bytes; not needed without slices.

        Returns:
            float64 [clicks].
        """
        found = self.overall(logit)
        code = np.zeros(len(found), np.int64) if values is None else _codes(values, list(self.slices)) + 1
        for number in np.unique(code[code > 0]):
            of_slice = code == number
            found[of_slice] = self.curves[number](logit[of_slice])
        return expit(found)


def fit(
    method: Method,
    logit: np.ndarray,
    label: np.ndarray,
    values: np.ndarray | None = None,
    min_positives: int = 1,
) -> Calibration:
    """Fits curves to clicks that the model was not trained on.

    Slices are fitted each on its own: nothing is shrunk towards the overall curve, which is why small ones get none.

    Args:
        method: of each curve, see `mal_tf.calibration.curve`.
        logit: float [clicks], the model's.
        label: float [clicks], in [0, 1].
        values: [clicks], what slices are by: int64, or strings as text or bytes. Without it, one curve.
        min_positives: a slice needs so many clicks with a label above 0, and as many with one below 1, for a curve of its own;
            at least 1.

    Raises:
        MalTfError: the labels are all 0, or all 1.
    """
    make = _CURVES[method]
    overall = make(logit, label)
    if values is None:
        return Calibration(overall)
    tokens = _text(values).dictionary_encode()
    code, label = tokens.indices.to_numpy(), np.asarray(label)
    clicks, positives, others = (np.bincount(code, of) for of in (None, label > 0, label < 1))
    order, ends = np.argsort(code, kind="stable"), np.cumsum(clicks)
    slices = {}
    for number in np.flatnonzero(np.minimum(positives, others) >= min_positives):
        part = order[ends[number] - clicks[number] : ends[number]]
        slices[tokens.dictionary[number].as_py().decode()] = make(logit[part], label[part])
    return Calibration(overall, dict(sorted(slices.items())))


def to_json(calibration: Calibration) -> dict[str, Any]:
    """Curves as lists of numbers; `from_json` reads it back to the last bit."""
    slices = {token: _curve(curve) for token, curve in calibration.slices.items()}
    return {"overall": _curve(calibration.overall), "slices": slices}


def from_json(data: Mapping[str, Any]) -> Calibration:
    """Of what `to_json` gave; other keys are left alone."""

    def curve(of: Mapping[str, Any]) -> Curve:
        return Curve(np.array(of["x"], np.float64), np.array(of["y"], np.float64), of["slope"])

    return Calibration(curve(data["overall"]), {token: curve(of) for token, of in data["slices"].items()})


def _curve(curve: Curve) -> dict[str, Any]:
    return {"x": curve.x.tolist(), "y": curve.y.tolist(), "slope": curve.slope}


def _text(values: np.ndarray) -> pa.Array:
    """Tokens as bytes, so that those that are no UTF-8 compare too."""
    found = pa.array(values)
    return found if pa.types.is_binary(found.type) else found.cast(pa.string()).cast(pa.binary())


def _codes(values: np.ndarray, tokens: Sequence[str]) -> np.ndarray:
    """Place of each value among the tokens; -1 where it is none."""
    found = pc.index_in(_text(values), pa.array([token.encode() for token in tokens], pa.binary()))
    return found.fill_null(-1).to_numpy().astype(np.int64)
