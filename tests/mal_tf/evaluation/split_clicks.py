"""Metrics of clicks that are split into shards of users and ranges of predictions, as the evaluation job does it."""

import functools
import operator

import numpy as np
from hypothesis import strategies as st

from mal_tf.evaluation import by_range, by_user
from mal_tf.evaluation.metrics import additive_metrics

#: What adds up over users, in this order.
RATIOS = [additive_metrics()[name] for name in ("gauc", "log_loss", "pcoc")]

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
        groups = [(group[mine] == number) for number in range(2)]
        groups = [by_user.Group(code[some], label[mine][some], [prediction[mine][some]]) for some in groups]
        parts.append(by_user.user_sums(groups, hashed(distinct), RATIOS, samples, SEED))
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
        distinct, code = np.unique(user[mine], return_inverse=True)
        every = [np.ones(mine.size, bool), group[mine] == 0, group[mine] == 1]
        groups = [(np.flatnonzero(some), label[mine][some]) for some in every]
        ranked = by_range.Ranked(code, hashed(distinct), prediction[mine], groups)
        parts.append(ranked.sums(sizes[:number].sum(axis=0), sizes.sum(axis=0), BINS, samples, SEED))
    return functools.reduce(by_range.RangeSums.followed_by, parts)
