import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.attribution.hash_table import HashTable

KEYS = st.integers(0, 40) | st.integers(0, 2**64 - 1) | st.integers(0, 40).map(lambda i: i << 58)


@given(st.dictionaries(KEYS, st.floats(-2, 2), max_size=40), st.lists(KEYS, max_size=20))
def test_finds_what_a_dict_finds(values, wanted):
    table = HashTable(np.array(list(values), np.uint64), np.array(list(values.values()), float), -9.0)
    wanted = np.array([*values, *wanted], np.uint64)
    assert table(wanted).tolist() == [values.get(key, -9.0) for key in wanted.tolist()]
    twice = np.stack([wanted, wanted[::-1]])
    assert table(twice).tolist() == [[values.get(key, -9.0) for key in row] for row in twice.tolist()]


def test_keys_that_share_a_bucket():
    # The last bucket's keys end the table: probing runs on behind them.
    for count in (1, 2, 3, 1000):
        keys = np.arange(count, dtype=np.uint64)
        table = HashTable(keys, keys.astype(float), 0.5)
        assert table(keys).tolist() == keys.tolist()
        assert (table(keys + np.uint64(count)) == 0.5).all()
