"""Whether clicks have what an export takes: TensorFlow parses any tf.Example, and takes what is not there for missing."""

import logging
from collections.abc import Collection

import numpy as np
from google.protobuf.message import DecodeError

from features.errors import MalTfError
from features.keras2 import tf

#: Clicks that are looked at. So many without a single value of any feature are others' clicks, not unknown ones.
_FIRST = 100

log = logging.getLogger("mal_tf.serving")


def check_features(model, known: Collection[str], name: str, place: str) -> None:
    """Warns of features that clicks do not have.

    Args:
        model: a SavedModel as TensorFlow loads it; without the signature `predict_raw` it is not held to any features.
        known: the features of the clicks.
        name: of the model.
        place: where the clicks are.

    Raises:
        MalTfError: they have none: the model was trained on other features.
    """
    wanted = _wanted(model)
    absent = [feature for feature in wanted if feature not in known]
    if wanted and absent == wanted:
        raise MalTfError(
            f"{place}: expected features of {name} ({', '.join(wanted)}), found none of them but {', '.join(sorted(known))}: it "
            "was trained on other logs"
        )
    if absent:
        log.warning("%s has no %s, which %s takes for missing values", place, ", ".join(absent), name)


def check_examples(model, examples: np.ndarray, name: str, place: str) -> None:
    """As `check_features`, of the features that the first clicks have; a missing value leaves its feature out of a click.

    Args:
        model: see `check_features`.
        examples: bytes [clicks], serialized tf.Examples.
        name: of the model.
        place: where the clicks are.

    Raises:
        MalTfError: a hundred have none, or one is no tf.Example.
    """
    first = examples[:_FIRST].tolist()
    try:
        there = set().union(*(tf.train.Example.FromString(example).features.feature for example in first))
    except DecodeError as error:
        raise MalTfError(f"{place}: expected tf.Examples, found a record that is none") from error
    if there & set(_wanted(model)) or len(first) == _FIRST:
        check_features(model, there, name, place)


def _wanted(model) -> list[str]:
    signatures = model.signatures
    return sorted(signatures["predict_raw"].structured_input_signature[1]) if "predict_raw" in signatures else []
