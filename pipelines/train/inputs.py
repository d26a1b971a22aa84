"""Inputs of a training: the part of the config that it depends on, and the clicks that it may train on."""

import dataclasses

from features.errors import MalTfError
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig


def training_inputs(config: RunConfig) -> dict:
    """Returns the part of the config that the result of a training depends on, without the `model` block."""
    included, excluded = {"seed", "features", "vocabulary", "training"}, {"training": {"checkpoint", "corrupt_records"}}
    held_out = {"held_out": config.calibration.segments} if config.calibration else {}
    return config.model_dump(mode="json", include=included, exclude=excluded) | held_out


def without_held_out(config: RunConfig, labelled: Labelled) -> Labelled:
    """Removes the segments that are held out for calibration from the training split.

    Raises:
        MalTfError: no clicks would be left to train on.
    """
    if config.calibration is None:
        return labelled
    train, held_out = labelled.splits["train"], config.calibration.segments
    kept = train.without_last(held_out)
    if not kept.rows:
        raise MalTfError(
            f"calibration.segments: {held_out} held out of {sum(any(rows) for rows in train.file_rows)} segments "
            f"(labels.segment_hours) with clicks in the training split leave none to train on"
        )
    return dataclasses.replace(labelled, splits=labelled.splits | {"train": kept})
