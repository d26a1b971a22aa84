"""Events of one shard of users, sorted and free of duplicates, in vectorised NumPy and Arrow code without Beam."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import codes, flat, id_codes, stable_hash
from features.hashing import INCREMENT
from mal_tf.attribution.touches import Events

#: Columns that hold the source of a row, which the shuffle preserves for the dead letters.
SOURCE_COLUMNS = ("source_file", "source_row")

#: Columns that `sort` adds: codes of the user and of (user, match key), in a numbering that both tables share.
USER, GROUP = "user_code", "group_code"


@dataclasses.dataclass(frozen=True)
class Shard:
    """All events of the shard's users, free of duplicates, sorted by user, match key, time and id.

    Attributes:
        clicks: canonical click rows with the columns `USER` and `GROUP`.
        conversions: canonical conversion rows, likewise.
        context: canonical rows of each kind of context touch, likewise.
    """

    clicks: pa.Table
    conversions: pa.Table
    context: tuple[pa.Table, ...] = ()

    @classmethod
    def from_tables(cls, tables: Iterable[pa.Table]) -> "Shard":
        """Shard of prepared tables: clicks, conversions, and those of each kind of context touch."""
        clicks, conversions, *context = tables
        return cls(clicks, conversions, tuple(context))

    @property
    def click_time(self) -> np.ndarray:
        """Times of the clicks, int64 [C]."""
        return self.clicks["timestamp"].to_numpy()

    @property
    def click_events(self) -> Events:
        """Groups and times of the clicks [C]."""
        return _events(self.clicks)

    @property
    def conversion_events(self) -> Events:
        """Groups and times of the conversions [J]."""
        return _events(self.conversions)

    @property
    def context_events(self) -> tuple[Events, ...]:
        """Groups and times of the context touches of each kind."""
        return tuple(map(_events, self.context))


def _events(table: pa.Table) -> Events:
    return Events(table[GROUP].to_numpy(), table["timestamp"].to_numpy())


def drop_duplicates(table: pa.Table, id_column: str) -> tuple[pa.Table, pa.Table, int]:
    """Keeps one row per user and id: the earliest, and among equally early ones the first by content.

    That is for clicks, which are recorded once: another content is a defect of the log. A conversion may be corrected; see
    `keep_latest`.

    Args:
        table: canonical rows with `SOURCE_COLUMNS`.
        id_column: `click_id` or `conversion_id`.

    Returns:
        The rows kept, the dropped rows whose content differs from a kept one, and the number of exact repeats dropped.
    """
    repeated = _repeated(table, id_column)
    if not repeated.size:
        return table, table.slice(0, 0), 0
    content = _content(table)
    by = [
        "user_id",
        id_column,
        "timestamp",
        *(c for c in content if c not in ("user_id", id_column, "timestamp")),
        *SOURCE_COLUMNS,
    ]
    group = table.take(repeated)
    comparable = _comparable(group)
    order = pc.sort_indices(comparable, [(name, "ascending") for name in by])
    group, comparable = group.take(order), comparable.take(order)
    first = _begins(comparable, ["user_id", id_column])
    other = ~first & _begins(comparable, content)
    kept = np.ones(table.num_rows, bool)
    kept[repeated] = False
    clean = pa.concat_tables([table.filter(pa.array(kept)), group.filter(pa.array(first))])
    return clean, group.filter(pa.array(other)), int((~first & ~other).sum())


class Latest(NamedTuple):
    """The latest row of each user and id.

    Attributes:
        rows: the rows kept.
        restated: number of dropped rows whose content differs from the kept one.
        repeats: number of exact repeats dropped.
        of_one_row: how many of the dropped rows are from the same row of the log, whose list was exploded, as another.
    """

    rows: pa.Table
    restated: int = 0
    repeats: int = 0
    of_one_row: int = 0


def keep_latest(table: pa.Table, id_column: str) -> Latest:
    """Keeps one row per user and id: the latest in the log, by file and row. What was sent again replaces what was sent.

    Args:
        table: canonical rows with `SOURCE_COLUMNS`.
        id_column: `click_id` or `conversion_id`.
    """
    repeated = _repeated(table, id_column)
    if not repeated.size:
        return Latest(table)
    group = table.take(repeated)
    group = group.take(pc.sort_indices(group, [(c, "ascending") for c in ("user_id", id_column, *SOURCE_COLUMNS)]))
    comparable = _comparable(group)
    begins = np.flatnonzero(_begins(comparable, ["user_id", id_column]))
    last = np.append(begins[1:], group.num_rows) - 1
    latest = comparable.take(pa.array(np.repeat(last, last - begins + 1)))
    restated = int(_differ(comparable, latest, _content(table)).sum())
    kept = np.ones(table.num_rows, bool)
    kept[repeated] = False
    clean = pa.concat_tables([table.filter(pa.array(kept)), group.take(pa.array(last))])
    of_one_row = int((~_begins(comparable, ["user_id", id_column, *SOURCE_COLUMNS])).sum())
    return Latest(clean, restated, group.num_rows - last.size - restated, of_one_row)


def _repeated(table: pa.Table, id_column: str) -> np.ndarray:
    """Positions, in order, of the rows whose user and id occur more than once."""
    (user,), (identity,) = codes(flat(table["user_id"])), codes(flat(table[id_column]))
    order = np.lexsort((identity, user))
    same = np.zeros(order.size + 1, bool)
    same[1:-1] = (np.diff(user[order]) == 0) & (np.diff(identity[order]) == 0)
    return np.sort(order[same[:-1] | same[1:]])


def _content(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in SOURCE_COLUMNS]


def _comparable(table: pa.Table) -> pa.Table:
    """The table with its lists of numbers as bytes, because Arrow can neither sort nor compare lists."""
    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            lists = flat(table[field.name])
            values = pa.py_buffer(lists.values.to_numpy())
            bounds = pa.py_buffer(lists.offsets.to_numpy() * np.int32(4))
            column = pa.Array.from_buffers(pa.binary(), len(lists), [None, bounds, values])
            table = table.set_column(place, field.name, column)
    return table


def _begins(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """Whether each row differs from the one before in any of the columns."""
    begins = np.ones(table.num_rows, bool)
    begins[1:] = _differ(table.slice(0, table.num_rows - 1), table.slice(1), columns)
    return begins


def _differ(one: pa.Table, other: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """Whether each row of one table differs from that of the other in any of the columns."""
    differ = np.zeros(one.num_rows, bool)
    for name in columns:
        a, b = flat(one[name]), flat(other[name])
        unequal = pc.not_equal(a, b).fill_null(False)
        differ |= np.asarray(pc.or_(unequal, pc.xor(a.is_null(), b.is_null())))
    return differ


def sort(clicks: pa.Table, conversions: pa.Table, context: Sequence[pa.Table] = ()) -> Shard:
    """Sorts duplicate-free tables of one shard; those of `context` have the context touches of one kind each."""
    every = (clicks, conversions, *context)
    users, keys = (codes(*(flat(table[name]) for table in every)) for name in ("user_id", "match_key"))
    width = max(int(k.max(initial=0)) for k in keys) + 1
    tables = []
    id_columns = ("click_id", "conversion_id", *("touch_id" for _ in context))
    for table, id_column, user, key in zip(every, id_columns, users, keys, strict=True):
        group, time = user * width + key, table["timestamp"].to_numpy()
        order = np.lexsort((id_codes(flat(table[id_column])), time, group))
        table = table.append_column(USER, pa.array(user)).append_column(GROUP, pa.array(group))
        tables.append(table.take(pa.array(order)))
    return Shard.from_tables(tables)


def event_keys(table: pa.Table, id_column: str, rows: np.ndarray) -> np.ndarray:
    """Stable hashes of user and id of the given rows, uint64."""
    selected = table.select(["user_id", id_column]).take(pa.array(rows))
    return stable_hash(flat(selected["user_id"])) * INCREMENT ^ stable_hash(flat(selected[id_column]))
