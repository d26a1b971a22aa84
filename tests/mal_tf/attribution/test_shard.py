"""What becomes of events that were delivered more than once."""

import itertools

import pyarrow as pa
import pytest

from mal_tf.attribution.shard import drop_duplicates, keep_latest


def rows(*events):
    """Conversions as (user, id, time, value, file, row)."""
    names = ["user_id", "conversion_id", "timestamp", "value", "source_file", "source_row"]
    kinds = [pa.string(), pa.string(), pa.int64(), pa.float64(), pa.int32(), pa.int64()]
    return pa.table([pa.array(c, k) for c, k in zip(zip(*events, strict=True), kinds, strict=True)], names)


RESENT = [
    ("u", "a", 5, 0.0, 0, 1),
    ("u", "a", 5, 49.9, 0, 2),
    ("u", "a", 4, 10.0, 1, 1),
    ("v", "a", 5, 1.0, 0, 3),
    ("v", "a", 5, 1.0, 1, 2),
    ("v", "b", 5, None, 0, 4),
    ("v", "b", 5, 2.0, 0, 5),
    ("v", "b", 5, None, 1, 3),
    ("w", "c", 5, None, 1, 4),
]


def test_the_latest_in_the_log_is_kept_in_whatever_order_rows_come():
    expected = [("u", "a", 4, 10.0), ("v", "a", 5, 1.0), ("v", "b", 5, None), ("w", "c", 5, None)]
    for order in itertools.islice(itertools.permutations(range(len(RESENT))), 0, None, 9973):
        latest = keep_latest(rows(*RESENT).take(pa.array(order)), "conversion_id")
        content = latest.rows.select(["user_id", "conversion_id", "timestamp", "value"])
        assert sorted(tuple(row.values()) for row in content.to_pylist()) == sorted(expected, key=lambda r: r[:2])
        assert latest[1:] == (3, 2, 0)


def test_of_one_row_of_the_log_the_last_element_is_kept():
    events = [("u", "a", 5, value, 0, row) for row, value in ((1, 1.0), (1, 3.0), (1, 3.0), (2, 9.0), (2, 2.0))]
    latest = keep_latest(rows(*events, ("u", "b", 5, 7.0, 0, 2)), "conversion_id")
    assert (latest.rows["value"].to_pylist(), latest[1:]) == ([7.0, 2.0], (4, 0, 3))


@pytest.mark.parametrize("once", [drop_duplicates, keep_latest])
def test_nothing_is_dropped_where_nothing_is_repeated(once):
    table = rows(RESENT[0], RESENT[3], RESENT[6])
    assert once(table, "conversion_id")[0] is table
    assert once(table.slice(0, 0), "conversion_id")[0].num_rows == 0
