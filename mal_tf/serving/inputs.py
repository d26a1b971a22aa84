"""Checks that clicks have an export's features: TensorFlow parses any tf.Example and takes an absent feature for missing."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from features.errors import MalTfError
from features.keras2 import tf

#: Clicks that are examined. So many without a value of any feature come from other logs; fewer may miss every value.
_FIRST = 100

log = logging.getLogger("mal_tf.serving")


def check_features(signatures: Mapping[str, Any], features: Collection[str], name: str, place: str) -> None:
    """Warns of features of a model that clicks do not have.

    Args:
        signatures: of the export; without `predict_raw`, which names its features, nothing is checked.
        features: of the clicks.
        name: of the model.
        place: where the clicks are.

    Raises:
        MalTfError: they have none of them: the model was trained on other features.
    """
    wanted = _features(signatures)
    absent = [feature for feature in wanted if feature not in features]
    if wanted and absent == wanted:
        raise MalTfError(
            f"{place}: expected features of {name} ({', '.join(wanted)}), found none of them but "
            f"{', '.join(sorted(features))}: it was trained on other logs"
        )
    if absent:
        log.warning("%s has no %s, which %s takes for missing values", place, ", ".join(absent), name)


def check_examples(signatures: Mapping[str, Any], examples: np.ndarray, name: str, place: str) -> None:
    """As `check_features`, with the features of the first clicks; a missing value leaves its feature out of a click.

    Args:
        signatures: see `check_features`.
        examples: bytes [clicks], serialized tf.Examples.
        name: of the model.
        place: where the clicks are.

    Raises:
        MalTfError: a hundred clicks have none, or one is no tf.Example.
    """
    first = examples[:_FIRST].tolist()
    try:
        features = set().union(*(tf.train.Example.FromString(example).features.feature for example in first))
    except DecodeError as error:
        raise MalTfError(f"{place}: expected tf.Examples, found a record that is none") from error
    if features & set(_features(signatures)) or len(first) == _FIRST:
        check_features(signatures, features, name, place)


def _features(signatures: Mapping[str, Any]) -> list[str]:
    return sorted(signatures["predict_raw"].structured_input_signature[1]) if "predict_raw" in signatures else []
