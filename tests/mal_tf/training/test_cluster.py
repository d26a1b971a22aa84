import pytest

from features.errors import MalTfError
from mal_tf.training.cluster import connect
from mal_tf.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("parameter_server", {"precision": "float16"}),
        ("tpu", {"precision": "float16"}),
        ("tpu", {"embedding_optimizer": "clippy_adagrad"}),
        ("tpu", {"gradients": "pcgrad"}),
        ("tpu", {"xla": True}),
    ],
)
def test_what_a_strategy_can_not_train_is_refused_before_it_begins(name, options):
    ((key, value),) = options.items()
    with pytest.raises(
        MalTfError, match=f"--strategy {name}: expected training.{key} to be .*, found {value}; change it"
    ):
        connect(name, TrainingConfig(**options))


def test_without_a_tpu():
    with pytest.raises(MalTfError, match="--strategy tpu: expected TPUs in this machine, found none"):
        connect("tpu", TrainingConfig())
