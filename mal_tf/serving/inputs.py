"""Whether clicks have what an export takes: TensorFlow parses any tf.Example, and takes what is not there for missing."""

import logging

import numpy as np

from features.errors import MalTfError
from features.keras2 import tf

#: Clicks that are looked at.
_FIRST = 100

log = logging.getLogger("mal_tf.serving")


def check_inputs(model, examples: np.ndarray, name: str, place: str) -> None:
    """Warns of features that the first clicks all lack; an export without the signature `predict_raw` is not held to any.

    Args:
        model: a SavedModel as TensorFlow loads it.
        examples: bytes [clicks], serialized tf.Examples.
        name: of the model.
        place: where the clicks are from.

    Raises:
        MalTfError: they lack all: the model was trained on other features.
    """
    if "predict_raw" not in model.signatures or not len(examples):
        return
    wanted = sorted(model.signatures["predict_raw"].structured_input_signature[1])
    first = examples[:_FIRST].tolist()
    there = set().union(*(tf.train.Example.FromString(example).features.feature for example in first))
    absent = [feature for feature in wanted if feature not in there]
    if not absent:
        return
    if absent == wanted:
        raise MalTfError(
            f"{place}: expected features of {name} ({', '.join(wanted)}), found none of them in the first "
            f"{len(first):,} clicks, but {', '.join(sorted(there))}: it was trained on other logs"
        )
    log.warning(
        "%s: the first %s clicks lack %s, which %s takes for missing values",
        *(place, f"{len(first):,}", ", ".join(absent), name),
    )
