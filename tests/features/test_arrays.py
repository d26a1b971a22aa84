import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from features.arrays import codes, composite_keys, flatten_ranges

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-50, 10**12)), max_size=12)


def _columns(pairs):
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(PAIRS, PAIRS)
def test_composite_keys_compare_like_pairs_across_arrays(left, right):
    (left_group, left_time), (right_group, right_time) = _columns(left), _columns(right)
    keys = composite_keys([left_group, right_group], [left_time, right_time])
    assert [k.size for k in keys] == [len(left), len(right)]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            assert np.sign(keys[0][i] - keys[1][j]) == (a > b) - (a < b)


def test_composite_keys_neighbour_stays_in_its_group():
    group, time = np.array([0, 0, 1, 1, 2]), np.array([5, 9, 5, 9, 5])
    (keys,) = composite_keys([group], [time])
    assert keys[1] + 1 < keys[2] - 1
    assert keys[3] + 1 < keys[4] - 1


def test_composite_keys_of_many_groups_and_nanoseconds():
    groups, times = np.arange(5000), np.arange(5000) * 10**13
    keys, others = composite_keys([groups, groups], [times, times[::-1]])
    assert (np.diff(keys) > 0).all()
    np.testing.assert_array_equal(keys < others, times < times[::-1])


def test_composite_keys_of_few_large_groups():
    keys = composite_keys([np.array([0, 2**40, 2**40]), np.array([2**40])], [np.array([7, 0, 2**40]), np.array([5])])
    assert keys[0][0] < keys[0][1] < keys[0][2]
    assert keys[1][0] - keys[0][1] == 5


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5)), max_size=10))
def test_flatten_ranges(ranges):
    starts, lengths = _columns(ranges)
    offsets, index = flatten_ranges(starts, lengths)
    expected = [list(range(s, s + n)) for s, n in ranges]
    assert [index[a:b].tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)] == expected
    assert offsets[-1] == index.size


@given(st.lists(st.text(max_size=3), max_size=8), st.lists(st.text(max_size=3), max_size=8))
def test_codes_of_text_follow_bytes(left, right):
    found = codes(pa.array(left, pa.string()), pa.array(right, pa.string()))
    rank = {value: i for i, value in enumerate(sorted({*left, *right}, key=str.encode))}
    assert found[0].tolist() == [rank[v] for v in left]
    assert found[1].tolist() == [rank[v] for v in right]


def test_codes_of_integers_follow_value_not_text():
    left, right = codes(pa.array([10, -3, 9]), pa.array([9, 2]))
    assert left.tolist() == [3, 0, 2]
    assert right.tolist() == [2, 1]
