import numpy as np
import pytest

from features.keras2 import keras, tf
from mal_tf.training import optimizers
from mal_tf.training.config import TrainingConfig
from mal_tf.training.precision import precision
from mal_tf.training.trainer import Trainer
from tests.support.models import LABELS, ROWS, build, network_targets

OPTIONS = {"attention": "multi_head", "senet": True, "layer_norm": True, "cross_layers": 1}


def trained(name, steps=2, **options):
    """Weights after some steps of plain descent, and the losses of each step."""
    config = TrainingConfig(optimizer="sgd", embedding_optimizer="sgd", learning_rate=0.1, warmup_share=0, **options)
    with precision(config.precision):
        network = build(name, **OPTIONS)
    trainer = Trainer(network, network_targets(network), config)
    trainer.compile(optimizer=optimizers.build(network, config, steps))
    losses = trainer.fit(tf.data.Dataset.from_tensors((ROWS, LABELS)), epochs=steps, verbose=0).history
    return network.model.get_weights(), losses["loss"]


@pytest.mark.parametrize("name", ["natal", pytest.param("home", marks=pytest.mark.slow)])
def test_xla_changes_nothing(name):
    weights, losses = trained(name)
    compiled, losses_compiled = trained(name, xla=True)
    assert losses_compiled == pytest.approx(losses, rel=1e-5)
    for found, expected in zip(compiled, weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)  # BatchNorm over two rows magnifies rounding.


@pytest.fixture
def smooth(monkeypatch):
    """Networks of softplus units: rounding switches some ReLUs of a new network, which are near 0, on or off."""
    init = keras.layers.Dense.__init__

    def softplus(self, units, activation=None, **options):
        init(self, units, "softplus" if activation == "relu" else activation, **options)

    monkeypatch.setattr(keras.layers.Dense, "__init__", softplus)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("gradients", ["sum", "pcgrad"])
def test_mixed_precision(smooth, kind, gradients):
    weights, losses = trained("natal", gradients=gradients)
    mixed, losses_mixed = trained("natal", gradients=gradients, precision=kind)
    assert losses_mixed == pytest.approx(losses, rel=0.02)
    assert losses_mixed != losses
    assert keras.mixed_precision.global_policy().name == "float32"
    assert {found.dtype for found in mixed} == {np.dtype("float32")}
    start = build("natal", **OPTIONS).model.get_weights()
    step, difference = (
        np.sqrt(sum(np.square(found - other).sum() for found, other in zip(weights, others, strict=True)))
        for others in (start, mixed)
    )
    assert 0 < difference < 0.1 * step


def test_a_loss_that_overflows_in_half_precision_skips_the_step():
    config = TrainingConfig(precision="float16", optimizer="sgd", embedding_optimizer="sgd")
    with precision("float16"):
        network = build("base")
    trainer = Trainer(network, ("last",), config)
    trainer.compile(optimizer=optimizers.build(network, config, 1))
    before, scale = network.model.get_weights(), float(trainer.optimizer.loss_scale)
    immense = LABELS | {"last": tf.constant([np.inf, 0.0])}
    trainer.fit(tf.data.Dataset.from_tensors((ROWS, immense)), verbose=0)
    for found, expected in zip(network.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert float(trainer.optimizer.loss_scale) == scale / 2
