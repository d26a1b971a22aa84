"""Training with delayed feedback: measuring how late credit arrives, and ordering fresh and matured days in training."""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from features.errors import MalTfError
from features.time_units import SECONDS_PER_HOUR
from mal_tf.attribution.shard import event_keys
from mal_tf.training.delayed_feedback import HOURS, DelayCurve, DelayedFeedback
from mal_tf.training.split import Split
from pipelines.clicks.labelled import LabelledClicks


@dataclasses.dataclass(frozen=True)
class Copies:
    """What a training with delayed feedback reads: the training split, and fresh days of the evaluation split.

    Attributes:
        begin: day of the first segment of the evaluation split.
        fresh: days of the evaluation split that train with the labels known so far.
        immature: how the loss corrects for labels that are not final.
    """

    begin: datetime.date
    fresh: tuple[datetime.date, ...]
    immature: DelayedFeedback

    def training_split(self, splits: Mapping[str, Split]) -> Split:
        """Returns the files to train on, in order."""
        return interleave(splits["train"], select_days(splits["eval"], self.begin, self.fresh))


def measure(
    early: LabelledClicks, final: LabelledClicks, mechanisms: Sequence[str], units_per_second: int = 1
) -> DelayCurve:
    """Measures the delay of credit by joining early labels of clicks with their final ones, by user and click id.

    Clicks that occur on one side only, such as those of a late log, are left out, as they do not train twice. Memory holds
    the early clicks of one day, 9 + 4·N bytes each for N mechanisms; the final ones are streamed.

    Args:
        early: a segment per UTC day, labelled at the end of that day.
        final: the same days, labelled after their windows have closed.
        mechanisms: mechanisms whose labels are compared; the fit of a data-driven one should be the same in both.
        units_per_second: time units of the timestamps in a second.

    Raises:
        MalTfError: the numbers of days differ, or a day has no click in common.
    """
    if len(early.segments) != len(final.segments):
        raise MalTfError(
            f"delayed feedback: expected the same days in early and final labels, found {len(early.segments)} and "
            f"{len(final.segments)} segments"
        )
    sums = np.zeros((2, len(mechanisms), HOURS))
    for early_day, final_day in zip(early.by_segment(), final.by_segment(), strict=True):
        sums += _sums_of_day(early_day, final_day, mechanisms, SECONDS_PER_HOUR * units_per_second)
    early_sums, final_sums = (dict(zip(mechanisms, totals.tolist(), strict=True)) for totals in sums)
    return DelayCurve(known=early_sums, final=final_sums)


def select_days(split: Split, first: datetime.date, days: Sequence[datetime.date]) -> Split:
    """Selects days of a split, in the given order.

    Args:
        split: split of a label job with `segment_hours: 24`, whose segments begin at midnight UTC.
        first: day of the first segment.
        days: days to select.

    Raises:
        MalTfError: the split lacks a day.
    """
    places = [(day - first).days for day in days]
    for day, place in zip(days, places, strict=True):
        if not 0 <= place < len(split.segments):
            last = first + datetime.timedelta(len(split.segments) - 1)
            raise MalTfError(f"expected the clicks of {day} in the label job's split, found those of {first} to {last}")
    return split.chosen(places)


def interleave(matured: Split, fresh: Split) -> Split:
    """Returns what trains at the end of a day: the matured days, the newest of them in turns with the fresh days.

    The importance weights of `mal_tf.training.delayed_feedback` hold for both copies of a click together: fresh copies have
    too few positives and matured ones too many. If they trained separately, the last ones would bias the predictions.
    """
    filled = [place for place, rows in enumerate(matured.file_rows) if sum(rows)]
    in_turns = Split.joined(matured.chosen(filled[-1:]), fresh).in_turns()
    return Split.joined(matured.chosen(filled[:-1]), in_turns)


def _sums_of_day(
    early: LabelledClicks, final: LabelledClicks, mechanisms: Sequence[str], units_per_hour: int
) -> np.ndarray:
    """Sums early and final labels of the clicks in both, by mechanism and hour of the day, as float64 [2, N, 24]."""
    keys, hours, early_labels = (
        np.concatenate(column, axis=-1)
        for column in zip(*_keys_and_labels(early, mechanisms, units_per_hour), strict=True)
    )
    order = np.argsort(keys)
    keys, hours, early_labels = keys[order], hours[order], early_labels[:, order]
    sums, clicks, joined = np.zeros((2, len(mechanisms), HOURS)), 0, 0
    for final_keys, _, final_labels in _keys_and_labels(final, mechanisms, units_per_hour) if keys.size else ():
        place = np.minimum(np.searchsorted(keys, final_keys), keys.size - 1)
        same = keys[place] == final_keys
        place, clicks, joined = place[same], clicks + final_keys.size, joined + int(same.sum())
        for which, labels in enumerate((early_labels[:, place], final_labels[:, same])):
            for number, mechanism_labels in enumerate(labels):
                sums[which, number] += np.bincount(hours[place], mechanism_labels, minlength=HOURS)
    if clicks and not joined:
        raise MalTfError(
            f"delayed feedback: expected the clicks of one day in the segments of {early.segments[0][0]} and "
            f"{final.segments[0][0]}, found no common click"
        )
    return sums


def _keys_and_labels(
    clicks: LabelledClicks, mechanisms: Sequence[str], units_per_hour: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields batches of keys, uint64 [batch], hours of the day, int8 [batch], and labels, float32 [N, batch].

    A key is a hash of user id and click id.
    """
    labels = [f"label_{name}" for name in mechanisms]
    for batch in clicks.read(["click_id", "user_id", "timestamp", *labels]):
        hours = (batch["timestamp"].to_numpy() // units_per_hour % HOURS).astype(np.int8)
        keys = event_keys(batch, "click_id", np.arange(batch.num_rows))
        yield keys, hours, np.stack([batch[name].to_numpy() for name in labels])
