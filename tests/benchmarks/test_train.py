import numpy as np
import pytest
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import mac_batches, plain_keras, train, train_process
from benchmarks.train import Rate
from features.keras2 import tf
from mal_tf.models import factory


def test_goals():
    ours, plain = {"base": Rate(22_600, 43_000)}, {"base": Rate(11_300, 86_000)}
    training, inference = train.goals_table(ours, plain).rows
    assert training == ("BASE, training", "22,600", "11,300", "2.00", "11,300", "2.00", "met")
    assert inference == ("BASE, inference", "43,000", "86,000", "0.50", "43,000", "1.00", "not met")


def test_growth_of_an_optimizer():
    costs = {("adam", 1_000): 1.0, ("adam", 10_000): 9.0, ("sgd", 1_000): 1.0, ("sgd", 10_000): 2.0}
    assert [row[-2:] for row in train.optimizers_table(costs).rows] == [("9.0", "yes"), ("2.0", "no")]


def test_profile_names_the_rest():
    rows = train.profile_table("", {"a": 6.0, "b": 3.0, "c": 0.75, "d": 0.25}, 2).rows
    assert rows == [("a", "6.0", "60%"), ("b", "3.0", "30%"), ("the rest", "1.0", "10%")]


def test_times_of_ops():
    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    names = [
        "gradient_tape/natal/last_tower/MatMul:_MklMatMul",
        "natal/last_tower/Relu:Relu",
        "AddN_3:AddN",
        "a thread",
    ]
    line = plane.lines.add()
    for number, name in enumerate(names, 1):
        plane.event_metadata[number].name = name
        line.events.add(metadata_id=number, duration_ps=number * 10**9)
    found = train_process.op_times(space.SerializeToString(), steps=2)
    assert found == {"ops": {"AddN": 1.5, "Relu": 1.0, "_MklMatMul": 0.5}, "parts": {"last_tower": 1.5, "AddN_3": 1.5}}


@pytest.mark.parametrize("name", train.PYMAL)
def test_plain_keras_is_the_same_model(name):
    work = mac_batches.load(batch_size=8)
    ours = factory.build(name, work.spec, mac_batches.SIZES, work.model, work.targets).model
    plain = plain_keras.build(name, work)
    # Keras' attention has a bias of the keys, which changes no output: one per history.
    assert plain.count_params() == ours.count_params() + 3 * work.model.embedding_dim
    rows, labels = mac_batches.batches(work, 1, seed=0)
    rows, labels = ({key: tf.constant(values[0]) for key, values in part.items()} for part in (rows, labels))
    found = plain(rows)
    assert {key: value.shape.as_list() for key, value in ours(rows).items()} == {
        key: [8, 16] if key == "cat" else [8] for key in found
    }
    assert np.isfinite(plain.train_on_batch(rows, plain_keras.labels(plain, work, labels))).all()


def test_batches_are_of_macs_shape():
    work = mac_batches.load(batch_size=50)
    rows, labels = mac_batches.batches(work, 2, seed=3)
    for feature in work.spec.scalars:
        assert rows[feature.name].shape == (2, 50)
        assert 0 < rows[feature.name].max() < mac_batches.SIZES[feature.name]
    history = rows["ad_feat0_seq"]
    assert history.shape == (2, 50, 20)
    filled = (history > 0).sum(axis=2)
    assert filled.min() >= 2 and (np.sort(history > 0, axis=2)[..., ::-1] == (history > 0)).all()
    assert set(labels) == {*work.targets, "mature"}
