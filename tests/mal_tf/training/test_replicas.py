import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.keras2 import tf
from mal_tf.training import replicas


@settings(max_examples=20)
@given(rows=st.integers(0, 40), batch=st.integers(1, 9), count=st.integers(1, 5), data=st.data())
def test_every_row_is_in_one_share_and_every_batch_gives_each_replica_one(rows, batch, count, data):
    examples = tf.data.Dataset.range(rows).batch(batch)
    cut = data.draw(st.integers(0, count))
    workers = [mine for mine in (range(cut), range(cut, count)) if mine]
    of_replica = {}
    for mine in workers:
        found = [share.tolist() for share in replicas.shares(examples, mine, count).as_numpy_iterator()]
        for position, number in enumerate(mine):
            of_replica[number] = found[position :: len(mine)]
    together = [list(itertools.chain(*shares)) for shares in zip(*(of_replica[n] for n in range(count)), strict=True)]
    assert together == [whole.tolist() for whole in examples.as_numpy_iterator()]
    assert all(max(map(len, shares)) - min(map(len, shares)) <= 1 for shares in zip(*of_replica.values(), strict=True))


@settings(max_examples=20)
@given(rows=st.integers(1, 40), batch=st.integers(1, 9), count=st.integers(1, 5))
def test_filled_shares_have_the_rows_of_shares_and_others_of_the_batch_beside_them(rows, batch, count):
    examples, size = tf.data.Dataset.range(rows).batch(batch), replicas.most_rows(batch, count)
    plain = list(replicas.shares(examples, range(count), count).as_numpy_iterator())
    filled = list(replicas.filled_shares(examples, range(count), count, size).as_numpy_iterator())
    assert [share[own].tolist() for share, own in filled] == [share.tolist() for share in plain]
    for number, (share, own) in enumerate(filled):
        whole = np.concatenate(plain[number // count * count :][:count])
        assert share.shape == own.shape == (size,) and set(share) <= set(whole)


CASES = [
    ("mal", {"clip_norm": 0.1}),
    ("mal", {"embedding_optimizer": "clippy_adagrad", "optimizer": "adagrad", "loss": "soft"}),
    ("natal", {"gradients": "pcgrad"}),
    ("natal", {"gradients": "gcs"}),
]


@pytest.mark.parametrize(
    ("name", "options"), [CASES[0], *(pytest.param(*c, marks=pytest.mark.slow) for c in CASES[1:])]
)
def test_two_devices_train_as_one(name, options):
    """Batches are shared out, the last one of a single click too. SGD: Adam makes a step of a rounding error."""
    options = {"optimizer": "sgd", "embedding_optimizer": "sgd", "learning_rate": 0.5} | options
    command = [sys.executable, "-m", "tests.mal_tf.training.two_devices", name, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["moved"] > 1e-3
    assert found["weights"] < 1e-6 and found["losses"] < 1e-6, found
