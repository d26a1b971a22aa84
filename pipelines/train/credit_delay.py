"""How late credit comes, measured on label jobs of two dates, and what clicks of which days train in which order."""

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


def measure(
    early: LabelledClicks, final: LabelledClicks, mechanisms: Sequence[str], units_per_second: int = 1
) -> DelayCurve:
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
    for early_day, final_day in zip(early.by_segment(), final.by_segment(), strict=True):
        sums += _sums_of_day(early_day, final_day, mechanisms, SECONDS_PER_HOUR * units_per_second)
    early_sums, final_sums = (dict(zip(mechanisms, of_each.tolist(), strict=True)) for of_each in sums)
    return DelayCurve(known=early_sums, final=final_sums)


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


def _sums_of_day(
    early: LabelledClicks, final: LabelledClicks, mechanisms: Sequence[str], units_per_hour: int
) -> np.ndarray:
    """Σ early and Σ final labels of the clicks in both, by mechanism and hour of the day: float64 [2, N, 24]."""
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
            for number, of_mechanism in enumerate(labels):
                sums[which, number] += np.bincount(hours[place], of_mechanism, minlength=HOURS)
    if clicks and not joined:
        raise MalTfError(
            f"delayed feedback: expected the clicks of one day in the segments of {early.segments[0][0]} and "
            f"{final.segments[0][0]}, found no click in both"
        )
    return sums


def _keys_and_labels(
    clicks: LabelledClicks, mechanisms: Sequence[str], units_per_hour: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Key of user and click, uint64 [batch], hour of the day, int8 [batch], labels, float32 [N, batch], in batches."""
    labels = [f"label_{name}" for name in mechanisms]
    for batch in clicks.read(["click_id", "user_id", "timestamp", *labels]):
        hours = (batch["timestamp"].to_numpy() // units_per_hour % HOURS).astype(np.int8)
        keys = event_keys(batch, "click_id", np.arange(batch.num_rows))
        yield keys, hours, np.stack([batch[name].to_numpy() for name in labels])
