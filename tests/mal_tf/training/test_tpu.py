"""What of the TPU's path a CPU can run. No test here has seen a TPU."""

import datetime
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_recommenders as tfrs

from features.keras2 import keras, tf
from features.lookup import lookup_model
from features.spec import FeatureSpec
from mal_tf.serving.export import ServedModel
from mal_tf.training import optimizers, tpu, warm_start
from mal_tf.training.checkpoint import Checkpoints
from mal_tf.training.cluster import Cluster
from mal_tf.training.config import TrainingConfig
from mal_tf.training.dataset import batches
from mal_tf.training.delayed_feedback import COUNTS, AsFinal, DelayCurve, DelayedFeedback
from mal_tf.training.replicas import Part
from mal_tf.training.trainer import Trainer
from tests.mal_tf.training import small

#: Two widths, a table with two histories, similarities, hashed features.
SPEC = FeatureSpec(
    features=[
        {"type": "categorical", "name": "shop", "embedding_dim": 2},
        {"type": "categorical", "name": "item"},
        {"type": "history", "name": "seen", "of": "item", "length": 3},
        {"type": "history", "name": "bought", "of": "item", "length": 2},
        {"type": "similarity", "name": "alike", "length": 4},
        {"type": "categorical", "name": "campaign", "hash_lookups": 2},
        {"type": "history", "name": "campaigns", "of": "campaign", "length": 2},
    ],
    vocabulary={"hash_buckets": 7},
)
VOCABULARIES = {"shop": ["a", "b"], "item": ["x", "y", "z"]}
RAW = {
    "shop": tf.constant(["a", "", "other", "b"]),
    "item": tf.constant(["z", "x", "", "y"]),
    "seen": tf.constant([["x", "y", ""], ["z", "", ""], ["", "", ""], ["z", "z", "x"]]),
    "bought": tf.constant([["x", "y"], ["", ""], ["other", ""], ["z", "y"]]),
    "campaign": tf.constant(["p", "q", "", "r"]),
    "campaigns": tf.constant([["p", ""], ["q", "r"], ["", ""], ["s", "p"]]),
    "alike": tf.constant(np.linspace(-1, 1, 16).reshape(4, 4).astype(np.float32)),
}


def both(name):
    """A network and its twin; the twin's weights then moved."""
    keras.utils.set_random_seed(1)
    description = warm_start.describe(name, SPEC, small.architecture(name), small.TARGETS, VOCABULARIES)
    network = description.build()
    return network, tpu.twin(network, description, 4, tf.tpu.experimental.embedding.SGD(0.1))


@pytest.mark.parametrize("name", ["base", "home", "mal"])
def test_a_twin_predicts_as_its_network_and_hands_back_what_it_learnt(name):
    lookup = lookup_model(SPEC, VOCABULARIES)
    network, twin = both(name)

    def logits():
        return twin.model(tpu.host_lookup(lookup)(RAW))

    before, expected = network.model(lookup(RAW)), logits()
    for head in network.heads:
        np.testing.assert_array_equal(before[head.output], expected[head.output])
    generator = np.random.default_rng(0)
    for variable in twin.model.variables:
        variable.assign_add(generator.normal(0, 0.1, variable.shape))
    twin.hand_back()
    found, expected = network.model(lookup(RAW)), logits()
    for head in network.heads:
        np.testing.assert_array_equal(found[head.output], expected[head.output])
        assert np.abs(found[head.output] - before[head.output]).max() > 1e-3
    cvr = ServedModel(SPEC, lookup, network).predict_raw(RAW)["cvr"]
    np.testing.assert_allclose(cvr, tf.sigmoid(expected[network.primary.output]), atol=1e-6)


def same(found, expected, tolerance):
    for a, b in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)
    assert found[1]["losses"] == pytest.approx(expected[1]["losses"], rel=1e-5)
    assert found[1]["examples"] == expected[1]["examples"] == 309  # 19 batches of 16, one of 5.


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("shared_bottom", "lazy_adam"),
        *(pytest.param("shared_bottom", name, marks=pytest.mark.slow) for name in ("adam", "adagrad", "sgd")),
        pytest.param("mal", "adagrad", marks=pytest.mark.slow),
    ],
)
def test_it_trains_as_on_one_device_the_uneven_end_too(tmp_path, model, optimizer):
    split, config = small.write(tmp_path), {"embedding_optimizer": optimizer, "adam_epsilon": 1e-3, "clip_norm": 1.0}
    alone = small.train(split, tmp_path / "alone", model, config)
    same(small.train(split, tmp_path / "tpu", model, config, cluster=Cluster("tpu")), alone, 1e-5)


CURVE = DelayCurve(
    known={name: [1.0] * 24 for name in small.TARGETS}, final={name: [2.0] * 24 for name in small.TARGETS}
)
DAYS = [datetime.date(1970, 1, 1)]


@pytest.mark.parametrize("immature", [None, AsFinal(), DelayedFeedback(CURVE, DAYS)])
def test_all_batches_have_one_static_shape_and_every_click_has_its_weight_once(tmp_path, immature):
    lookup = tpu.host_lookup(lookup_model(small.SPEC, small.VOCABULARIES))
    arguments = (small.write(tmp_path), small.SPEC, lookup, small.TARGETS, 50)
    plain = batches(*arguments, immature=immature)
    filled = batches(*arguments, Part(shares=range(4), count=4, fill=True), immature)
    assert all(spec.shape[0] == 13 for spec in tf.nest.flatten(filled.element_spec))
    sums = [
        {key: sum(int(labels[key].sum()) for _, labels in dataset.as_numpy_iterator()) for key in weights}
        for dataset in (plain, filled)
        for weights in [{"mature", COUNTS} & dataset.element_spec[1].keys()]
    ]
    assert sums[0] == sums[1] and sums[0]["mature"] > 250


def test_cut_short_it_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    split, config = small.write(tmp_path), {"embedding_optimizer": "adam", "checkpoint": {"every_steps": 3}}
    whole = small.train(split, tmp_path / "whole", "base", config, cluster=Cluster("tpu"))
    ended = Checkpoints.on_train_batch_end

    def stop(self, batch, logs=None):
        ended(self, batch, logs)
        if self.place.step == 7:
            raise InterruptedError

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(Checkpoints, "on_train_batch_end", stop)
        small.train(split, tmp_path / "cut", "base", config, cluster=Cluster("tpu"))
    same(small.train(split, tmp_path / "cut", "base", config, cluster=Cluster("tpu")), whole, 0)


class Hardware(tf.tpu.experimental.embedding.TPUEmbeddingForServing):
    """A TPU's embedding hardware as TFRS drives it, on a CPU; moves tables as optimization_parameters.proto has it."""

    def build(self, per_replica_input_shapes=None):
        super().build()

    def enqueue(self, features, weights=None, training=True, name=None):
        self.asked = tf.nest.flatten(features)
        self.found = [
            tf.gather(self.embedding_tables[config.table], rows if len(rows.shape) == 1 else rows[..., 0])
            for rows, config in zip(self.asked, tf.nest.flatten(self._feature_config), strict=True)
        ]

    def dequeue(self, name=None):
        return tf.nest.pack_sequence_as(self._feature_config, self.found)

    def apply_gradients(self, gradients, name=None):
        used = list(zip(tf.nest.flatten(self._feature_config), self.asked, tf.nest.flatten(gradients), strict=True))
        for table in self._table_config:
            own = [(rows, gradient) for config, rows, gradient in used if config.table is table]
            rows = tf.concat([tf.reshape(rows, [-1]) for rows, _ in own], 0)
            values = tf.concat([tf.reshape(gradient, [-1, table.dim]) for _, gradient in own], 0)
            gradient = tf.math.unsorted_segment_sum(values, rows, table.vocabulary_size)
            seen = tf.math.unsorted_segment_sum(tf.ones_like(values), rows, table.vocabulary_size) > 0
            _moved(self._variables[table.name], table.optimizer, gradient, seen)


def _moved(state, optimizer, gradient, seen):
    rate, x = optimizer.learning_rate(), state["parameters"]
    if isinstance(optimizer, tf.tpu.experimental.embedding.SGD):
        x.assign_sub(rate * gradient)
    elif isinstance(optimizer, tf.tpu.experimental.embedding.Adagrad):
        squares = state["accumulators"].assign_add(gradient**2)
        x.assign_sub(rate * gradient / tf.sqrt(squares))
    else:
        assert not optimizer.sum_inside_sqrt
        m, v = state["momenta"], state["velocities"]
        moves = seen | (not optimizer.lazy_adam)
        m.assign(tf.where(moves, optimizer.beta_1 * m + (1 - optimizer.beta_1) * gradient, m))
        v.assign(tf.where(moves, optimizer.beta_2 * v + (1 - optimizer.beta_2) * gradient**2, v))
        x.assign_sub(tf.where(moves, rate * m / (tf.sqrt(v) + optimizer.epsilon), 0.0))


@pytest.fixture
def hardware(monkeypatch):
    layer = tfrs.layers.embedding.TPUEmbedding
    made = layer._create_tpu_embedding_mid_level_api

    def make(self, *arguments):
        if self._optimizer is None:  # The tables' way back to the host.
            return made(self, *arguments)
        self._embedding_feature = tf.tpu.experimental.HardwareFeature.EmbeddingFeature.V1
        return Hardware(self._feature_config, self._optimizer)

    monkeypatch.setattr(layer, "_create_tpu_embedding_mid_level_api", make)
    monkeypatch.setattr(tpu, "_holds_tables", lambda: True)


def test_one_variable_stands_for_the_tables_that_hardware_holds(hardware):
    _, twin = both("base")
    assert [variable.shape for variable in twin.embedding_variables] == [[1]]


@pytest.mark.parametrize(
    "optimizer", ["adagrad", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sgd", "adam", "lazy_adam"))]
)
def test_hardware_that_moves_the_tables_itself_trains_alike(tmp_path, hardware, optimizer):
    """But for Adam's epsilon: the smaller it is, the less it matters where it is added."""
    options = {"embedding_optimizer": optimizer, "adam_epsilon": 1e-12, "warmup_share": 0.5}
    config, split = options | {"embedding_learning_rate": 0.01}, small.write(tmp_path)
    alone = small.train(split, tmp_path / "alone", "shared_bottom", config)
    same(small.train(split, tmp_path / "tpu", "shared_bottom", config, cluster=Cluster("tpu")), alone, 1e-4)


@pytest.mark.parametrize("name", ["mal", pytest.param("home", marks=pytest.mark.slow)])
def test_a_whole_step_compiles(name):
    """XLA is what TPUs run: here it compiles the step for the CPU."""
    generator, config = np.random.default_rng(3), TrainingConfig(embedding_optimizer="lazy_adam", optimizer="sgd")
    labels = {target: tf.constant(generator.random(4), tf.float32) for target in small.TARGETS}
    rows = tpu.host_lookup(lookup_model(SPEC, VOCABULARIES))(RAW)
    weights = []
    for compiled in (False, True):
        _, twin = both(name)
        trainer = Trainer(twin, small.TARGETS, config)
        trainer.compile(optimizer=optimizers.build(twin, config, 1))
        step = tf.function(trainer.train_step, jit_compile=compiled)
        before = [variable.numpy() for variable in twin.model.variables]
        step((rows, labels | {"mature": tf.constant([1, 1, 1, 0], tf.int64)}))
        weights.append([variable.numpy() for variable in twin.model.variables])
    for plain, found in zip(*weights, strict=True):
        np.testing.assert_allclose(found, plain, atol=1e-6)
    assert any(np.abs(found - start).max() > 1e-3 for start, found in zip(before, weights[1], strict=True))


def test_a_tpus_adam_has_the_bias_correction_in_its_rate():
    config = TrainingConfig(embedding_optimizer="lazy_adam", embedding_learning_rate=0.5, warmup_share=0)
    step = tf.Variable(0, dtype=tf.int64)
    adam = optimizers.for_tables_on_tpu(config, 10, step)
    assert adam.lazy_adam and adam.epsilon == 1e-7
    assert float(adam.learning_rate()) == pytest.approx(0.5 * 0.001**0.5 / 0.1, rel=1e-4)
    step.assign(2)
    assert float(adam.learning_rate()) == pytest.approx(0.5 * (1 - 0.999**3) ** 0.5 / (1 - 0.9**3), rel=1e-4)


@pytest.mark.slow
def test_two_devices_of_which_one_may_have_no_click():
    command = [sys.executable, "-m", "tests.mal_tf.training.tpu_cores"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["moved"] > 1e-3
    assert found["weights"] < 1e-5 and found["losses"] < 1e-5, found
