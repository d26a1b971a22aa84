"""How late credit comes, measured on label jobs of two dates, and what clicks of which days train in which order."""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.training.dataset import serialized
from mal_tf.training.delayed_feedback import HOURS, DelayCurve, DelayedFeedback
from mal_tf.training.split import Split
from pipelines.clicks.scoring import click_id_dtype

#: Clicks parsed at a time.
_BATCH = 8192


@dataclasses.dataclass(frozen=True)
class Copies:
    """What trains where clicks train before their window closes: the training split, and days of the evaluation split.

    Attributes:
        begin: day of the evaluation split's first segment.
        fresh: days of it that train, as known.
        immature: how.
    """

    begin: datetime.date
    fresh: tuple[datetime.date, ...]
    immature: DelayedFeedback

    def of(self, splits: Mapping[str, Split]) -> Split:
        """What trains, in order."""
        return mixed(splits["train"], days_of(splits["eval"], self.begin, self.fresh))


def measure(early: Split, final: Split, mechanisms: Sequence[str], units_per_second: int = 1) -> DelayCurve:
    """Joins days' labels as known at their ends with their final ones, by user and click id.

    Clicks that only one of the two has, such as those of a log that came late, are left out: they were not, or are not,
    trained on twice. Memory: one day's early clicks, 9 + 4·N bytes each for N mechanisms; the final ones stream past.

    Args:
        early: a segment per UTC day, labelled at the end of that day.
        final: the same days, labelled after their windows have closed.
        mechanisms: whose labels are compared; a data-driven one's fit should be the same in both.
        units_per_second: of the timestamps.

    Raises:
        MalTfError: not as many days in both, or a day's clicks are other ones in both.
    """
    if len(early.segments) != len(final.segments):
        raise MalTfError(
            f"delayed feedback: expected the same days as known early and as final, found {len(early.segments)} and "
            f"{len(final.segments)} segments"
        )
    sums = np.zeros((2, len(mechanisms), HOURS))
    days = zip(early.segments, early.file_rows, final.segments, final.file_rows, strict=True)
    for early_files, early_rows, final_files, final_rows in days:
        if sum(early_rows) and sum(final_rows):
            sums += _of_day(early_files, final_files, mechanisms, 3600 * units_per_second)
    known, final_sums = (dict(zip(mechanisms, of_each.tolist(), strict=True)) for of_each in sums)
    return DelayCurve(known=known, final=final_sums)


def days_of(split: Split, first: datetime.date, days: Sequence[datetime.date]) -> Split:
    """Some days of a split, in the order in which they are asked for.

    Args:
        split: of a label job with `segment_hours: 24`, whose segments begin at midnight UTC.
        first: day of its first segment.
        days: which.

    Raises:
        MalTfError: the split has not all of them.
    """
    places = [(day - first).days for day in days]
    for day, place in zip(days, places, strict=True):
        if not 0 <= place < len(split.segments):
            last = first + datetime.timedelta(len(split.segments) - 1)
            raise MalTfError(f"expected the clicks of {day} in the label job's split, found those of {first} to {last}")
    return split.chosen(places)


def mixed(matured: Split, fresh: Split) -> Split:
    """What trains at the end of a day: the days that have become mature, the newest of them in turns with the fresh ones.

    The weights are right for the copies together (`mal_tf.training.delayed_feedback`): fresh ones have too few positives,
    mature ones too many. In batches of their own, the last ones would pull the predictions to their side.
    """
    filled = [place for place, rows in enumerate(matured.file_rows) if sum(rows)]
    in_turns = Split.joined(matured.chosen(filled[-1:]), fresh).in_turns()
    return Split.joined(matured.chosen(filled[:-1]), in_turns)


def _of_day(early: Sequence[str], final: Sequence[str], mechanisms: Sequence[str], hour: int) -> np.ndarray:
    """Σ known and Σ final labels of the clicks in both, by mechanism and hour of the day: float64 [2, N, 24]."""
    parts = list(_clicks(early, mechanisms, hour))
    keys, hours, known = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    order = np.argsort(keys)
    keys, hours, known = keys[order], hours[order], known[:, order]
    sums, joined = np.zeros((2, len(mechanisms), HOURS)), 0
    for final_keys, _, labels in _clicks(final, mechanisms, hour):
        place = np.minimum(np.searchsorted(keys, final_keys), keys.size - 1)
        same = keys[place] == final_keys
        place, joined = place[same], joined + int(same.sum())
        for which, values in enumerate((known[:, place], labels[:, same])):
            for number, of_mechanism in enumerate(values):
                sums[which, number] += np.bincount(hours[place], of_mechanism, minlength=HOURS)
    if not joined:
        raise MalTfError(
            f"delayed feedback: expected the clicks of one day in the segments of {early[0]} and {final[0]}, found none in both"
        )
    return sums


def _clicks(
    files: Sequence[str], mechanisms: Sequence[str], hour: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Key of user and click, uint64 [batch], hour of the day, int8 [batch], labels, float32 [N, batch], in batches."""
    columns = {"click_id": tf.as_dtype(click_id_dtype([files])), "user_id": tf.string, "timestamp": tf.int64}
    columns |= {f"label_{name}": tf.float32 for name in mechanisms}
    parsing = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in columns.items()}
    for examples in serialized([files], _BATCH):
        found = {name: values.numpy() for name, values in tf.io.parse_example(examples, parsing).items()}
        user, click = (pd.util.hash_array(found[name], categorize=False) for name in ("user_id", "click_id"))
        of_day = (found["timestamp"] // hour % HOURS).astype(np.int8)
        yield user * np.uint64(0x9E3779B97F4A7C15) ^ click, of_day, np.stack([found[f"label_{m}"] for m in mechanisms])
