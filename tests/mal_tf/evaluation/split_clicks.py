"""Metrics of clicks that are split into shards of users and ranges of predictions, as the evaluation job does it."""

import functools
import operator

import numpy as np
from hypothesis import strategies as st

from mal_tf.evaluation import by_range, by_user, draws
from mal_tf.evaluation.sorted_clicks import SortedClicks

BINS, SEED = 4, 3

#: Clicks as (user, group, label, prediction), with many ties; labels and predictions are float32, as in label files.
CLICKS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 1),
        st.sampled_from([0.0, 0.0, 0.0, 1 / 3, 0.7, 1.0]),
        st.sampled_from([0.0, 0.1, 0.2, 0.25, 1.0]),
    ),
    min_size=1,
    max_size=30,
)


def columns(clicks):
    user, group, label, prediction = zip(*clicks, strict=True)
    return np.array(user), np.array(group), np.float32(label), np.float32(prediction)


def hashed(user):
    return user.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def users(user, group, label, prediction, shards=1, samples=0):
    """`UserSums` of two groups, users in as many shards."""
    parts = []
    for shard in range(shards):
        mine = np.flatnonzero(user % shards == shard)
        mine = mine[np.lexsort((label[mine], prediction[mine], user[mine]))]
        distinct, code = np.unique(user[mine], return_inverse=True)
        drawn = np.array([draws.poisson(hashed(distinct), SEED, sample) for sample in range(samples)], np.uint8)
        drawn = drawn.reshape(samples, distinct.size).T
        parts.append(by_user.user_sums(group[mine], code, label[mine], [prediction[mine]], 2, drawn))
    return functools.reduce(operator.add, parts)


def ranges(user, group, label, prediction, size=1000, samples=0):
    """`RangeSums` of all clicks, then of each of two groups, combined over ranges of about `size` clicks."""
    key = by_range.keys(prediction)
    place = np.searchsorted(by_range.cut(*np.unique(key, return_counts=True), size), key, side="right") - 1
    sizes = np.array(
        [np.append((place == n).sum(), np.bincount(group[place == n], minlength=2)) for n in range(place.max() + 1)]
    )
    parts = []
    for number in range(len(sizes)):
        mine = np.flatnonzero(place == number)
        mine = mine[np.lexsort((label[mine], user[mine], prediction[mine]))]
        rows, nobody = np.arange(mine.size), np.zeros(mine.size, np.int64)
        some = (label[mine], prediction[mine])
        clicks = [SortedClicks(rows, nobody, *some, 1), SortedClicks(rows, group[mine], *some, 2)]
        times = (draws.poisson(hashed(user[mine]), SEED, sample).astype(np.float64) for sample in range(samples))
        parts.append(by_range.range_sums(clicks, sizes[:number].sum(axis=0), sizes.sum(axis=0), BINS, times))
    return functools.reduce(by_range.RangeSums.followed_by, parts)
