"""What a training depends on: its part of the config, and its part of the labelled clicks."""

import dataclasses

from features.errors import MalTfError
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig


def trained_from(config: RunConfig) -> dict:
    """The part of the config that a training's result depends on, besides the model's own."""
    included, without = {"seed", "features", "vocabulary", "training"}, {"training": {"checkpoint", "corrupt_records"}}
    held_out = {"held_out": config.calibration.segments} if config.calibration else {}
    return config.model_dump(mode="json", include=included, exclude=without) | held_out


def without_held_out(config: RunConfig, labelled: Labelled) -> Labelled:
    """The labelled clicks without those of the training split that are held out for calibration.

    Raises:
        MalTfError: nothing would be left to train on.
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
