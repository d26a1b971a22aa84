"""What happens to one shard of users: sorting, duplicates, journeys, labels, histories. No Beam, no Python per click."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import codes
from features.history import last_events
from features.spec import ARROW_TYPE, FeatureSpec
from features.table import FEATURE
from mal_tf.attribution import labels
from mal_tf.attribution.journeys import Events, JourneyRules, Journeys, converting_journeys, other_journeys
from mal_tf.attribution.mechanism import Mechanism

#: Where a row came from, carried through the shuffle for the dead letters.
PLACE = ("source_file", "source_row")


@dataclasses.dataclass(frozen=True)
class Clock:
    """The moments that the job turns on, in time units since 1970.

    Attributes:
        start: earliest click.
        eval_from: first moment of the evaluation split.
        observed_until: the logs are complete up to here.
        segment: length of a segment.
    """

    start: int
    eval_from: int
    observed_until: int
    segment: int

    def segments(self) -> dict[str, int]:
        """How many segments each split has."""
        return {
            "train": max(-(-(self.eval_from - self.start) // self.segment), 0),
            "eval": max((self.observed_until - max(self.eval_from, self.start)) // self.segment + 1, 0),
        }

    def split_and_segment(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each click: whether it is in the evaluation split, and its segment there."""
        is_eval = time >= self.eval_from
        origin = np.where(is_eval, max(self.eval_from, self.start), self.start)
        return is_eval, (time - origin) // self.segment


@dataclasses.dataclass(frozen=True)
class Shard:
    """All events of the shard's users, free of duplicates, sorted by user, match key, time and id."""

    clicks: pa.Table
    conversions: pa.Table
    click_events: Events
    conversion_events: Events

    @property
    def click_time(self) -> np.ndarray:
        """int64 [C]."""
        return self.click_events.time


def drop_duplicates(table: pa.Table, id_column: str) -> tuple[pa.Table, pa.Table, int]:
    """Keeps one row per user and id: the earliest, among those the first by content.

    Args:
        table: canonical rows with `PLACE`.
        id_column: `click_id` or `conversion_id`.

    Returns:
        The rows kept, rows with the same id and other content, and how many exact repeats were dropped.
    """
    (user,), (identity,) = codes(_flat(table["user_id"])), codes(_flat(table[id_column]))
    order = np.lexsort((identity, user))
    same = np.zeros(order.size, bool)
    same[1:] = (np.diff(user[order]) == 0) & (np.diff(identity[order]) == 0)
    if not same.any():
        return table, table.slice(0, 0), 0
    in_group = same.copy()
    in_group[:-1] |= same[1:]
    repeated = np.sort(order[in_group])
    content = [name for name in table.column_names if name not in PLACE]
    by = [
        "user_id",
        id_column,
        "timestamp",
        *(c for c in content if c not in ("user_id", id_column, "timestamp")),
        *PLACE,
    ]
    group = table.take(repeated).sort_by([(name, "ascending") for name in by])
    first = _begins(group, ["user_id", id_column])
    other = ~first & _begins(group, content)
    kept = np.ones(table.num_rows, bool)
    kept[repeated] = False
    clean = pa.concat_tables([table.filter(pa.array(kept)), group.filter(pa.array(first))])
    return clean, group.filter(pa.array(other)), int((~first & ~other).sum())


def _begins(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """Whether each row differs from the one before in any of the columns."""
    begins = np.ones(table.num_rows, bool)
    begins[1:] = False
    for name in columns:
        column = _flat(table[name])
        before, after = column.slice(0, len(column) - 1), column.slice(1)
        differs = pc.not_equal(before, after).fill_null(False)
        one_null = pc.xor(before.is_null(), after.is_null())
        begins[1:] |= np.asarray(pc.or_(differs, one_null))
    return begins


def sort(clicks: pa.Table, conversions: pa.Table) -> Shard:
    """Sorts duplicate-free tables of one shard."""
    users = codes(_flat(clicks["user_id"]), _flat(conversions["user_id"]))
    keys = codes(_flat(clicks["match_key"]), _flat(conversions["match_key"]))
    width = max(int(k.max(initial=0)) for k in keys) + 1
    tables, events = [], []
    for table, id_column, user, key in zip(
        (clicks, conversions), ("click_id", "conversion_id"), users, keys, strict=True
    ):
        group, time = user * width + key, table["timestamp"].to_numpy()
        order = np.lexsort((codes(_flat(table[id_column]))[0], time, group))
        tables.append(table.take(pa.array(order)))
        events.append(Events(group[order], time[order]))
    return Shard(*tables, *events)


def journeys(shard: Shard, rules: JourneyRules) -> Journeys:
    """The shard's converting journeys."""
    touchpoint, touchpoints = _touchpoints(shard)
    value = shard.conversions["value"].to_numpy()
    return converting_journeys(shard.click_events, shard.conversion_events, rules, touchpoint, touchpoints, value)


def statistics(
    shard: Shard, rules: JourneyRules, mechanisms: Mapping[str, Mechanism], fit_until: int, observed_until: int
) -> dict:
    """Statistics of each data-driven mechanism, from what happened before `fit_until`.

    Converting journeys are those whose conversion is earlier; other journeys are made of clicks that are earlier,
    mature, and in no converting journey at all.
    """
    converting = journeys(shard, rules)
    claimed = np.zeros(shard.click_time.size, bool)
    claimed[converting.click] = True
    claimed |= (shard.click_time >= fit_until) | (shard.click_time + rules.window > observed_until)
    touchpoint, touchpoints = _touchpoints(shard)
    other = other_journeys(shard.click_events, claimed, rules.window, touchpoint, touchpoints)
    early = _select(converting, (shard.conversion_events.time < fit_until) & (converting.lengths > 0))
    return {name: m.statistics(early, other) for name, m in mechanisms.items() if m.data_driven}


def _select(all_journeys: Journeys, keep: np.ndarray) -> Journeys:
    touches = keep[all_journeys.owner]
    return Journeys(
        np.concatenate([[0], np.cumsum(all_journeys.lengths[keep])]),
        all_journeys.click[touches],
        all_journeys.touchpoint[touches],
        all_journeys.touchpoints,
        all_journeys.age[touches],
        all_journeys.value[keep],
    )


def _touchpoints(shard: Shard) -> tuple[np.ndarray, np.ndarray]:
    encoded = _flat(shard.clicks["touchpoint"]).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_numpy(zero_copy_only=False)


def label(
    shard: Shard, rules: JourneyRules, mechanisms: Mapping[str, Mechanism], spec: FeatureSpec, observed_until: int
) -> tuple[pa.Table, Counter]:
    """Labels all clicks of a shard.

    Returns:
        Table in the shard's order: `click_id`, `user_id`, `timestamp`, `path_length`, `mature`, `label_<mechanism>`,
        `label_cat`, features.
        Counts: attributed and unattributed conversions, and conversions by path length.
    """
    converting = journeys(shard, rules)
    clicks = shard.click_time.size
    values = {name: labels.label(converting, m.credit(converting), clicks) for name, m in mechanisms.items()}
    columns = {name: shard.clicks[name] for name in ("click_id", "user_id", "timestamp")}
    columns["path_length"] = labels.path_length(converting, clicks)
    columns["mature"] = (shard.click_time + rules.window <= observed_until).astype(np.int64)
    columns |= {f"label_{name}": value for name, value in values.items()}
    columns["label_cat"] = labels.cat_label(values)
    columns |= {f.name: shard.clicks[FEATURE + f.source_column] for f in spec.scalars}
    columns |= {f.name: _history(shard, f, spec) for f in spec.histories}
    lengths, conversions = np.unique(converting.lengths, return_counts=True)
    by_length = {("path_length", int(n)): int(c) for n, c in zip(lengths, conversions, strict=True) if n}
    empty = int((converting.lengths == 0).sum())
    counts = Counter({("conversions", "attributed"): len(converting) - empty, ("conversions", "without_click"): empty})
    return pa.table(columns), counts + Counter(by_length)


def _history(shard: Shard, feature, spec: FeatureSpec) -> pa.Array:
    events = shard.clicks if feature.events == "clicks" else shard.conversions
    id_column = "click_id" if feature.events == "clicks" else "conversion_id"
    column = FEATURE + spec.scalar(feature.of).source_column
    events = events.filter(pc.is_valid(events[column]))
    event_user, click_user = codes(_flat(events["user_id"]), _flat(shard.clicks["user_id"]))
    time = events["timestamp"].to_numpy()
    order = np.lexsort((codes(_flat(events[id_column]))[0], time, event_user))
    offsets, index = last_events(event_user[order], time[order], click_user, shard.click_time, feature.length)
    tokens = _flat(events[column]).take(pa.array(order[index]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), tokens.cast(ARROW_TYPE[spec.dtype(feature)]))


def _flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
