"""What is left of a split after so many clicks is read in the order of the whole."""

import pytest

from mal_tf.training.dataset import serialized
from mal_tf.training.split import Split
from tests.mal_tf.training import small


def test_after_by_hand():
    split = Split([["a", "b"], ["c", "d"], ["e", "f"]], [[2, 1], [0, 3], [0, 0]])
    assert split.rows == 6
    assert split.after(0) == (split, 0)
    assert split.after(2) == (split, 2)
    assert split.after(3) == (Split([["c", "d"], ["e", "f"]], [[0, 3], [0, 0]]), 0)
    assert split.after(5) == (Split([["c", "d"], ["e", "f"]], [[0, 3], [0, 0]]), 2)
    assert split.after(6) == (Split([], []), 0)


def test_the_last_segments_with_clicks_are_taken_off():
    split = Split([["a", "b"], ["c", "d"], ["e"], ["f"], ["g"]], [[2, 1], [0, 3], [0], [5], [0]])
    assert split.without_last(1) == Split([["a", "b"], ["c", "d"], ["e"]], [[2, 1], [0, 3], [0]])
    assert split.without_last(2) == Split([["a", "b"]], [[2, 1]])
    assert split.without_last(3) == split.without_last(9) == Split([], [])


def test_copies_take_their_place():
    split = Split([["a", "b"]], [[2, 1]])
    assert split.replaced({"b": ("copy", 0), "elsewhere": ("x", 9)}) == Split([["a", "copy"]], [[2, 0]])


@pytest.mark.parametrize("rows", [small.ROWS, ((40,), (7,), (33,)), ((33, 20), (40,), (7, 18, 60))])
def test_every_click_once_whatever_was_read_before(tmp_path, rows):
    split = small.write(tmp_path, rows)

    def read(part, skip=0, size=16):
        return [record for batch in serialized(part, size, skip) for record in batch.numpy()]

    whole = read(split)
    assert len(set(whole)) == split.rows
    for seen in range(0, split.rows, 13):
        left, skip = split.after(seen)
        assert read(left, skip) == whole[seen:]
    assert [len(batch) for batch in serialized(split, split.rows - 1).as_numpy_iterator()] == [
        split.rows - 1,
        1,
    ]
