"""The `labels` and `tfrecords` blocks of a run's config."""

import operator
from typing import Literal

import pydantic

from features.frozen import Days, Frozen, Hours, Moment, Path
from features.time_units import since_epoch


class LabelsConfig(Frozen):
    """The label job.

    Attributes:
        train_from: earlier clicks are context, that is they occur in journeys and histories but in no split.
        eval_from: clicks from this time on are the evaluation split, earlier ones the training split. With a time zone.
        eval_until: clicks from this time on are context.
        without_days: clicks of these days (UTC) are context.
        observed_from: earlier events are bad rows; 1970 by default.
        observed_until: time up to which the logs are complete. Later events are left out, and clicks whose window ends later
            are immature. By default the time of the latest event. Events after the start of the job are always bad rows.
        observed_before: in place of `observed_until`, time before which the logs are complete, such as the end of a day. It is
            exact whatever the resolution of the times.
        immature: `drop` immature clicks, or `mark` them with `mature = 0`; training and evaluation use only mature clicks.
        shards: number of parts that the users are split into, which is also the number of files per segment. A worker holds
            one part in memory. By default one per 16 MiB of input files, and fewer from 100 GiB on (docs/engines.md).
        segment_hours: length of the period whose clicks share a file, so that training can read files in time order.
        max_bad_share: the job fails when a larger share of a table's rows is bad, or of a column's cells can't be used.
        grow_from: output directory of an earlier label job, relative to the config, whose vocabularies are extended: existing
            entries keep their rows, and new ones are appended.
        vocabulary_of: which clicks the vocabularies are built from, those of the `train` split or of `all` splits.
    """

    eval_from: Moment
    train_from: Moment | None = None
    eval_until: Moment | None = None
    without_days: Days = ()
    observed_from: Moment | None = None
    observed_until: Moment | None = None
    observed_before: Moment | None = None
    immature: Literal["drop", "mark"] = "drop"
    shards: int | None = pydantic.Field(None, ge=1, le=99_999)
    segment_hours: Hours = 24
    max_bad_share: float = pydantic.Field(0.01, ge=0, le=1)
    grow_from: Path | None = None
    vocabulary_of: Literal["train", "all"] = "train"

    @pydantic.field_validator(
        "train_from", "eval_from", "eval_until", "observed_from", "observed_until", "observed_before"
    )
    @classmethod
    def _zoned(cls, moment):
        if moment is not None and moment.tzinfo is None:
            raise ValueError(f"needs a time zone, such as {moment.isoformat()}+00:00")
        return moment

    @pydantic.model_validator(mode="after")
    def _in_order(self):
        if self.train_from is not None and self.train_from >= self.eval_from:
            raise ValueError(f"train_from, {self.train_from}, must be before eval_from, {self.eval_from}")
        if self.eval_until is not None and self.eval_until <= self.eval_from:
            raise ValueError(f"eval_until, {self.eval_until}, must be after eval_from, {self.eval_from}")
        if self.observed_until is not None and self.observed_before is not None:
            raise ValueError("expected observed_until or observed_before, found both; leave one out")
        return self

    def last_observed(self, units_per_second: int) -> int | None:
        """The last time unit, since 1970, up to which the logs are complete; None if it is that of the latest event."""
        if self.observed_before is not None:
            return since_epoch(self.observed_before, units_per_second, up=True) - 1
        return None if self.observed_until is None else since_epoch(self.observed_until, units_per_second)


class TFRecordsConfig(Frozen):
    """Files of labelled clicks.

    Attributes:
        compression_level: gzip level, from 0 (no compression) to 9. Files of level 0 are about three times as large as those
            of level 2 and take a third less time to read (`docs/benchmarks.md`). Levels 1 and 2 are written by ISA-L (the
            package isal), five times as fast as by zlib, which writes the others, and these too where isal is not installed.
            The bytes are the same on every processor; the manifest's `encoder` says which library wrote a file.
        also: `parquet` writes the same clicks and columns as Parquet, too, in `labels/table`, for analysts and other training
            frameworks ([attribution.md](attribution.md#label-files)).
    """

    compression_level: int = pydantic.Field(2, ge=0, le=9)
    also: Literal["parquet"] | None = pydantic.Field(None, exclude_if=operator.not_)
