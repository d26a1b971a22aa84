import numpy as np
import pandas as pd

from features.spec import INT64_MISSING
from pipelines.evaluation.slices import slice_by

LABEL = np.array([0, 0, 1, 0.5, 1, 0.2, 1])


def parts(values, name, min_positives=0):
    found = slice_by(pd.Series(values, name=name), LABEL, min_positives)
    return {part.name: np.flatnonzero(part.chosen).tolist() for part in found}


def test_a_path_length_is_its_positives_and_all_negatives():
    expected = {"1 click": [0, 1, 2], "2 clicks": [0, 1, 3], "3 clicks": [0, 1, 4], "4 or more": [0, 1, 5, 6]}
    assert parts([0, 0, 1, 2, 3, 4, 9], "path_length") == expected
    assert parts([0, 0, 1, 2, 3, 4, 9], "path_length", 2) == {"4 or more": [0, 1, 5, 6]}


def test_values_come_by_frequency_and_missing_ones_together():
    assert list(parts(["b", "a", "a", "", "a", "b", "c"], "shop").items()) == [
        ("a", [1, 2, 4]),
        ("b", [0, 5]),
        ("(missing)", [3]),
        ("c", [6]),
    ]
    assert parts([7, 7, INT64_MISSING, 8, 8, 7, 8], "hour", 2) == {"8": [3, 4, 6]}
