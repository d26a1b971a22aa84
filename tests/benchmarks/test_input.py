import pytest

from benchmarks.input import Reading, memory_table, rates_table
from benchmarks.input_process import CONTENDERS
from features.keras2 import tf
from features.lookup import lookup_model
from tests.mal_tf.training import small


def test_tables_by_hand():
    found = {"ours": [Reading(90, 50, 1), Reading(100, 10, 1), Reading(400, 70, 1)], "other": [Reading(25, 20, 1)]}
    rates = rates_table(found)
    assert rates.rows == [["ours", "100", "10000.00", "50", "1.00"], ["other", "25", "40000.00", "20", "4.00"]]
    assert memory_table({1000: Reading(1, 1, 3 << 20), 4000: Reading(1, 1, 5 << 20)}).rows == [
        ["1,000", "3"],
        ["4,000", "5"],
    ]


@pytest.mark.parametrize("rows", [((40,), (23,))])  # One file a segment: row by row knows no turns.
def test_all_contenders_read_the_same(tmp_path, rows):
    arguments = (
        small.write(tmp_path, rows),
        small.SPEC,
        lookup_model(small.SPEC, small.VOCABULARIES),
        small.TARGETS,
        16,
    )
    pairs = zip(CONTENDERS["ours"](*arguments), CONTENDERS["row by row"](*arguments), strict=True)
    for ours, theirs in pairs:
        tf.nest.map_structure(tf.debugging.assert_equal, ours, theirs)
