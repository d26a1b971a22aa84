import pytest

from features.keras2 import tf
from mal_tf.training import optimizers
from mal_tf.training.config import TrainingConfig
from tests.support.models import build


def test_warmup_by_hand():
    rate = optimizers.LinearWarmup(0.1, 4)
    assert [float(rate(tf.constant(step))) for step in (0, 1, 3, 9)] == pytest.approx([0.025, 0.05, 0.1, 0.1])
    assert float(optimizers.LinearWarmup(0.1, 0)(tf.constant(0))) == pytest.approx(0.1)


def test_tables_and_dense_parts_have_their_own():
    network = build("moae")
    config = TrainingConfig(embedding_optimizer="adam", adam_epsilon=1e-8, clip_norm=3, optimizer="sgd")
    tables, dense = optimizers.build(network, config, 100).optimizers
    assert [variable.name for variable in network.embedding_variables] == ["embedding_16/embeddings:0"]
    assert tables.epsilon == 1e-8
    assert dense.global_clipnorm == 3
