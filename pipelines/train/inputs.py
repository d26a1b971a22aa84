"""Inputs of a training: the part of the config that it depends on, and the clicks that it may train on."""

import dataclasses
import logging

from features.errors import MalTfError
from mal_tf.attribution.label_counts import LabelCounts
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig

log = logging.getLogger("mal_tf.train")


def training_inputs(config: RunConfig) -> dict:
    """Returns the part of the config that the result of a training depends on, without the `model` block."""
    included, excluded = {"seed", "features", "vocabulary", "training"}, {"training": {"checkpoint", "corrupt_records"}}
    held_out = {"held_out": config.calibration.segments} if config.calibration else {}
    return config.model_dump(mode="json", include=included, exclude=excluded) | held_out


def without_held_out(config: RunConfig, labelled: Labelled) -> Labelled:
    """Removes the segments that are held out for calibration from the training split.

    Raises:
        MalTfError: no clicks would be left to train on, or all that are held out are of one class.
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
    counts = train.chosen(range(len(kept.segments), len(train.segments))).labels
    if counts and counts.clicks and counts.credit[config.model.primary] in (0.0, counts.clicks):
        raise MalTfError(
            f"calibration.segments: expected clicks of both classes under label_{config.model.primary} in the last {held_out} "
            f"segments of the training split, found {_found(counts, config.model.primary)}; hold out more segments, or label more"
        )
    return dataclasses.replace(labelled, splits=labelled.splits | {"train": kept})


def check_classes(config: RunConfig, labelled: Labelled) -> None:
    """Checks before a training that the primary target can be learned and evaluated.

    Clicks of one class are an error, and a warning for a training that continues an earlier one. Of the evaluation split they
    are a warning, as are those of other mechanisms, in the label report (`pipelines.labels.plausibility.one_class`).

    Args:
        config: config of the run.
        labelled: the labelled clicks, without what is held out.

    Raises:
        MalTfError: all mature clicks of the training split are of one class under the primary target's label.
    """
    primary, counts, later = config.model.primary, labelled.splits["train"].labels, labelled.splits["eval"].labels
    if later is not None and not later.clicks:
        log.warning("eval split: no click is mature, so that there will be nothing to evaluate; label more days")
    if counts is None or not counts.clicks:
        return
    positives = counts.positives[primary]
    graded = config.training.loss == "soft" and counts.credit[primary] < counts.clicks
    if 0 < positives < counts.clicks or (positives and graded):
        return
    message = f"train split: expected clicks of both classes under label_{primary}, found {_found(counts, primary)}"
    if not config.training.warm_start:
        raise MalTfError(
            f"{message}: there is nothing to learn. Check that conversions find clicks (attribution.window_hours, match keys), "
            "label more days, or choose another model.primary"
        )
    log.warning("%s: this training learns nothing from them", message)


def _found(counts: LabelCounts, mechanism: str) -> str:
    return f"{counts.positives[mechanism]:,} positives among {counts.clicks:,} mature clicks"
