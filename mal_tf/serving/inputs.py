"""Checks that clicks have the features of an exported model, since TensorFlow treats absent features as missing values."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from features.errors import MalTfError
from features.keras2 import tf

#: Number of clicks that are examined. If this many have no value of any feature, they come from other logs.
_FIRST = 100

log = logging.getLogger("mal_tf.serving")


def check_features(signatures: Mapping[str, Any], features: Collection[str], name: str, place: str) -> None:
    """Warns of features of a model that clicks do not have.

    Args:
        signatures: signatures of the export; without `predict_raw`, which names its features, nothing is checked.
        features: names of the features of the clicks.
        name: name of the model, for messages.
        place: where the clicks come from, for messages.

    Raises:
        MalTfError: the clicks have none of the features, so the model was trained on others.
    """
    wanted = _features(signatures)
    absent = [feature for feature in wanted if feature not in features]
    if wanted and absent == wanted:
        raise MalTfError(
            f"{place}: expected features of {name} ({', '.join(wanted)}), found none of them but "
            f"{', '.join(sorted(features))}; it was trained on other logs"
        )
    if absent:
        log.warning("%s has no %s, which %s treats as missing values", place, ", ".join(absent), name)


def check_examples(signatures: Mapping[str, Any], examples: np.ndarray, name: str, place: str) -> None:
    """Checks the features of the first clicks by `check_features`. Clicks omit features whose value is missing.

    Few clicks may miss all values, of which a warning tells.

    Args:
        signatures: signatures of the export.
        examples: bytes [clicks], serialized tf.Examples.
        name: name of the model, for messages.
        place: where the clicks come from, for messages.

    Raises:
        MalTfError: a hundred clicks have none of the features, or a record is not a tf.Example.
    """
    first = examples[:_FIRST].tolist()
    try:
        features = set().union(*(tf.train.Example.FromString(example).features.feature for example in first))
    except DecodeError as error:
        raise MalTfError(f"{place}: expected tf.Examples, found a record that is not a tf.Example") from error
    wanted = _features(signatures)
    if features & set(wanted) or len(first) == _FIRST:
        check_features(signatures, features, name, place)
    elif first and wanted:
        log.warning(
            "%s: no click has a value of a feature of %s (%s): all are missing values", place, name, ", ".join(wanted)
        )


def _features(signatures: Mapping[str, Any]) -> list[str]:
    return sorted(signatures["predict_raw"].structured_input_signature[1]) if "predict_raw" in signatures else []
