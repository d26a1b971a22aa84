"""What an earlier model's weights become in a later one, variable by variable."""

import json
import shutil
import sys
import types

import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.spec import FeatureSpec
from mal_tf.layers.tower import MLP
from mal_tf.models.network import Head, Network, bottom, logit
from mal_tf.training import warm_start
from tests.mal_tf.training import small

OUTPUTS = "it leads to other outputs, or these had other targets"
GROUPS = {"single": ("last",), "multi": ("first", "linear")}


def made(name="mal", seed=1, spec=small.SPEC, vocabularies=small.VOCABULARIES, targets=small.TARGETS, **model):
    """A network with its own initial weights, and its description."""
    keras.utils.set_random_seed(seed)
    config = small.architecture(name, **model)
    description = warm_start.describe(name, spec, config, targets, vocabularies)
    return description.build(), description


def taken_over(directory, vocabularies=small.VOCABULARIES, **changes):
    """The new network's weights before and after, by `layer/place`; tables by feature; and the report by variable."""
    network, description = made(seed=2, vocabularies=vocabularies, **changes)
    before = weights(network)
    report = warm_start.take_over(network, description, vocabularies, str(directory))
    return before, weights(network), {entry["variable"]: (entry["status"], entry["reason"]) for entry in report}


def weights(network) -> dict[str, np.ndarray]:
    found = {f"{s.name}/{f}": s.embeddings.numpy()[s.row_range(f)] for s in network.stacks for f in s.sizes}
    tables = [stack.name for stack in network.stacks]
    plain = [layer for layer in network.model.layers if layer.name not in tables]
    return found | {f"{layer.name}/{i}": v.numpy() for layer in plain for i, v in enumerate(layer.weights)}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Directory and weights of an earlier `mal`."""
    directory = tmp_path_factory.mktemp("earlier")
    network, description = made()
    warm_start.write(str(directory), network, description)
    return directory, weights(network)


def test_the_same_network_is_restored_to_the_last_variable(earlier):
    directory, old = earlier
    before, after, report = taken_over(directory)
    assert set(report.values()) == {("restored", "")}
    assert len(report) == len(old)
    assert any((before[key] != old[key]).any() for key in old)
    for key in old:
        np.testing.assert_array_equal(after[key], old[key])


def test_tables_that_grew_keep_their_rows_the_new_ones_stay_as_initialised(earlier):
    directory, old = earlier
    grown = small.VOCABULARIES | {"shop": ["a", "b", "c", "z"], "item": [*small.VOCABULARIES["item"], "77", "78"]}
    before, after, report = taken_over(directory, grown)
    assert report["embedding_4/shop"] == ("grown", "5 rows kept, 1 new")
    assert report["embedding_4/item"] == ("grown", "31 rows kept, 2 new")
    assert report["embedding_4/price"] == ("restored", "")
    assert report["last_head/0/kernel"] == ("restored", "")
    for feature, kept in (("shop", 5), ("item", 31), ("price", 4)):
        key = f"embedding_4/{feature}"
        np.testing.assert_array_equal(after[key][:kept], old[key])
        np.testing.assert_array_equal(after[key][kept:], before[key][kept:])


@pytest.mark.parametrize(
    ("changed", "feature", "reason"),
    [
        ({"price": ["1.0", "2.5"]}, "price", "its bucket boundaries are others"),
        ({"shop": ["b", "a", "c"]}, "shop", "its vocabulary does not begin with the earlier one"),
        ({"shop": ["a", "b"]}, "shop", "its vocabulary does not begin with the earlier one"),
    ],
)
def test_a_table_whose_rows_mean_something_else_is_not_taken_over(earlier, changed, feature, reason):
    directory, old = earlier
    before, after, report = taken_over(directory, small.VOCABULARIES | changed)
    status, why = report.pop(f"embedding_4/{feature}")
    assert status == "new" and why.startswith(reason)
    assert set(report.values()) == {("restored", "")}
    np.testing.assert_array_equal(after[f"embedding_4/{feature}"], before[f"embedding_4/{feature}"])
    np.testing.assert_array_equal(after["embedding_4/item"], old["embedding_4/item"])


def test_another_model_takes_what_it_shares(earlier):
    directory, old = earlier
    _, after, report = taken_over(directory, name="shared_bottom")
    assert report["bottom/0/kernel"] == ("restored", "")
    assert report["last_tower/1/bias"] == ("restored", "")
    assert report["last_head/1/bias"] == ("new", "it read fusion")
    assert report["first_tower/0/kernel"] == ("new", "the earlier model has no such layer")
    assert report["fusion"] == report["aka_cat"] == ("dropped", "there is no such layer any more")
    np.testing.assert_array_equal(after["bottom/0"], old["bottom/0"])


def test_widths_that_changed_and_targets_in_another_order(earlier):
    directory, _ = earlier
    before, after, report = taken_over(directory, tower_units=(5,), targets=("first", "last", "linear"))
    assert report["last_tower/0/kernel"] == ("new", "units was [4]")
    assert report["bottom/0/kernel"] == ("restored", "")
    before, after, report = taken_over(directory, targets=("first", "last", "linear"))
    for layer in ("aka_cat/1", "fusion/0"):
        assert report.pop(next(key for key in report if key.startswith(layer))) == ("new", "the targets are others")
        np.testing.assert_array_equal(after[layer], before[layer])
    assert report["last_tower/0/kernel"] == ("restored", "")


def test_with_other_features_only_what_belongs_to_a_feature_is(earlier):
    directory, old = earlier
    shop, item, _, seen = small.SPEC.features
    wide = shop.model_copy(update={"embedding_dim": 6})
    _, after, report = taken_over(directory, spec=FeatureSpec(features=(item, wide, seen)))
    assert report["embedding_6/shop"] == ("new", "it was 4 wide")
    assert report["embedding_4/item"] == report["attention_seen/0/kernel"] == ("restored", "")
    assert report["embedding_4/price"] == ("dropped", "there is no such table any more")
    assert report["bottom/1/bias"] == ("new", "the features it reads are others")
    np.testing.assert_array_equal(after["attention_seen/0"], old["attention_seen/0"])


def test_a_second_feature(tmp_path):
    shop, item, _, _ = small.SPEC.features
    network, description = made("base", spec=FeatureSpec(features=(item,)))
    warm_start.write(str(tmp_path), network, description)
    _, _, report = taken_over(tmp_path, name="base", spec=FeatureSpec(features=(item, shop)))
    assert report["bottom/1/bias"] == ("new", "the features it reads are others")
    assert report["last_tower/1/bias"] == ("new", "the features it reads are others")


@pytest.mark.parametrize(
    ("name", "then", "now", "layers", "reason"),
    [
        ("natal", {}, {"primary": "linear"}, ["fusion_1/0"], "the targets are others"),
        ("natal", {}, {"primary": "linear"}, ["linear_tower_1/0"], OUTPUTS),
        ("shared_bottom", {}, {"primary": "linear"}, ["linear_tower/0", "last_head/0"], OUTPUTS),
        ("moae", {}, {"single_attribution": True}, ["first_tower_1/0", "first_expert_1_0/0"], OUTPUTS),
        (
            "home",
            {"categories": GROUPS},
            {"categories": {"single": ("first",), "multi": ("last", "linear")}},
            ["category.single_expert_2_0/0", "last_expert_2_0/0"],
            None,
        ),
        (
            "home",
            {"categories": GROUPS},
            {"categories": GROUPS, "targets": ("first", "last", "linear")},
            ["all.shared_meta_gate/0"],
            "the targets are others",
        ),
        ("ple", {}, {"targets": ("first", "last", "linear")}, ["all.shared_gate_1/0"], "the targets are others"),
        (
            "base",
            {"attention": "multi_head", "attention_heads": 2},
            {"attention": "multi_head", "attention_heads": 4},
            ["attention_seen/0"],
            "heads was 2",
        ),
        (
            "base",
            {"attention": "multi_head", "attention_heads": 2},
            {"attention": "multi_head", "attention_heads": 4},
            ["bottom/0", "last_head/0"],
            "attention_seen, which it reads: heads was 2",
        ),
        ("base", {}, {"mask_padding": False}, ["attention_seen/0"], "what it reads is computed in another way"),
    ],
)
def test_equal_shapes_that_mean_something_else_begin_anew(tmp_path, name, then, now, layers, reason):
    network, description = made(name, **then)
    warm_start.write(str(tmp_path), network, description)
    before, after, report = taken_over(tmp_path, name=name, **now)
    for layer in layers:
        ((status, why),) = [entry for variable, entry in report.items() if variable.startswith(layer)]
        assert status == "new" and why == (reason or why)
        assert after[layer].shape == weights(network)[layer].shape
        np.testing.assert_array_equal(after[layer], before[layer])
    assert report["embedding_4/item"] == ("restored", "")


def test_mechanisms_called_like_a_features_layers_are_no_features(tmp_path):
    targets = ("last", "attention", "tiers")
    network, description = made("mmoe", targets=targets)
    warm_start.write(str(tmp_path), network, description)
    shop, item, price, seen = small.SPEC.features
    _, _, report = taken_over(
        tmp_path, name="mmoe", targets=targets, spec=FeatureSpec(features=(item, shop, price, seen))
    )
    assert report["attention_gate/0/kernel"] == ("new", "the features it reads are others")
    assert report["tiers_tower/0/kernel"] == ("new", "the features it reads are others")
    assert report["attention_seen/0/kernel"] == ("restored", "")


def test_a_history_of_another_feature_attends_anew(earlier):
    shop, item, price, seen = small.SPEC.features
    spec = FeatureSpec(features=(shop, item, price, seen.model_copy(update={"of": "shop"})))
    _, _, report = taken_over(earlier[0], spec=spec)
    assert report["attention_seen/0/kernel"] == ("new", "the features it reads are others")
    assert report["bottom/0/kernel"] == ("new", "the features it reads are others")


HASHED = {"hash_lookups": 2, "embedding_dim": 6}
BUCKETS = small.SPEC.vocabulary.model_copy(update={"hash_buckets": 50})


def hashed(*features, vocabulary=BUCKETS):
    """The small project's features, these hashed."""
    changed = (f.model_copy(update=HASHED) if f.name in features else f for f in small.SPEC.features)
    return FeatureSpec(features=tuple(changed), vocabulary=vocabulary)


def test_the_table_of_hashed_features_is_carried_over_whatever_features_use_it(tmp_path):
    network, description = made(spec=hashed("item"))
    old = weights(network)
    warm_start.write(str(tmp_path), network, description)
    _, after, report = taken_over(tmp_path, spec=hashed("item"))
    assert set(report.values()) == {("restored", "")}
    assert old.keys() == after.keys() and old["embedding_3/<hashed>"].shape == (50, 3)
    for key in old:
        np.testing.assert_array_equal(after[key], old[key])
    _, after, report = taken_over(tmp_path, spec=hashed("shop", "item"))
    assert report["embedding_3/<hashed>"] == ("restored", "")
    assert report["embedding_4/shop"] == ("dropped", "there is no such table any more")
    np.testing.assert_array_equal(after["embedding_3/<hashed>"], old["embedding_3/<hashed>"])


def test_a_hashed_table_of_other_rows_or_width_begins_anew(tmp_path):
    network, description = made(spec=hashed("item"))
    warm_start.write(str(tmp_path), network, description)
    more = BUCKETS.model_copy(update={"hash_buckets": 51})
    _, _, report = taken_over(tmp_path, spec=hashed("item", vocabulary=more))
    assert report["embedding_3/<hashed>"] == ("new", "it had 50 rows")
    _, _, report = taken_over(tmp_path)
    assert report["embedding_4/item"] == ("new", "the earlier model has no such table")
    assert report["embedding_3/<hashed>"] == ("dropped", "there is no such table any more")


@keras.utils.register_keras_serializable("tests")
class Blend(keras.layers.Layer):
    """A weight for each of the vectors that it adds up."""

    mixes_targets = True

    def build(self, shapes):
        self.weight = self.add_weight("weight", [len(shapes), 1], initializer="ones")
        super().build(shapes)

    def call(self, vectors):
        return tf.add_n([weight * vector for weight, vector in zip(tf.unstack(self.weight), vectors, strict=True)])


def blended(spec, sizes, config, targets) -> Network:
    """A user's own model: the primary reads a blend of every target's tower."""
    inputs, v = bottom(spec, sizes, config)
    towers = {target: MLP(config.tower_units, name=f"{target}_view")(v) for target in targets}
    vectors = towers | {config.primary: Blend(name="blend")(list(towers.values()))}
    outputs = {target: logit(vector, target, config) for target, vector in vectors.items()}
    heads = sorted((Head(name, name, name == config.primary) for name in targets), key=lambda head: not head.primary)
    return Network(keras.Model(inputs, outputs), tuple(heads))


@pytest.fixture
def own_model(monkeypatch):
    module = types.ModuleType("shop.blended")
    module.build = blended
    monkeypatch.setitem(sys.modules, "shop", types.ModuleType("shop"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


@pytest.mark.parametrize("targets", [("first", "last", "linear"), ("last", "first", "linear", "mta")])
def test_a_users_own_layer_declares_that_it_mixes_targets(tmp_path, own_model, targets):
    network, description = made(own_model)
    warm_start.write(str(tmp_path), network, description)
    _, _, same = taken_over(tmp_path, name=own_model)
    assert set(same.values()) == {("restored", "")}
    _, _, report = taken_over(tmp_path, name=own_model, targets=targets)
    assert report.pop("blend/0/weight") == ("new", "the targets are others")
    assert report["last_head/0/kernel"] == report["first_view/0/kernel"] == ("restored", "")
    assert {variable for variable, (status, _) in report.items() if status == "new"} == {
        f"mta_{layer}/{place}/{kind}"
        for layer in ("view", "head")
        if "mta" in targets
        for place, kind in enumerate(("kernel", "bias"))
    }


def test_a_description_without_blocks_of_an_earlier_version_is_read(earlier, tmp_path):
    for file in earlier[0].iterdir():
        shutil.copy(file, tmp_path)
    fields = json.loads((tmp_path / warm_start.NETWORK).read_text())
    assert [block["name"] for block in fields.pop("blocks")][:2] == ["bottom", "last_tower"]
    (tmp_path / warm_start.NETWORK).write_text(json.dumps(fields))
    _, _, report = taken_over(tmp_path)
    assert set(report.values()) == {("restored", "")}


def test_a_broken_description_is_named(tmp_path):
    (tmp_path / warm_start.NETWORK).write_text('{"name": "ma')
    with pytest.raises(MalTfError, match="network.json: expected the description of a trained network"):
        taken_over(tmp_path)


def test_a_training_begins_with_it_and_reports_it(tmp_path):
    network, description = made("base")
    (tmp_path / "run/train/base").mkdir(parents=True)
    warm_start.write(str(tmp_path / "run/train/base"), network, description)
    still = {"learning_rate": 1e-30, "embedding_learning_rate": 1e-30, "warm_start": str(tmp_path / "run")}
    found, result = small.train(small.write(tmp_path), tmp_path / "later", "base", still)
    assert {entry["status"] for entry in result["warm_start"]} == {"restored"}
    for value, expected in zip(found, network.model.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-20)
    with pytest.raises(MalTfError, match="expected a run that trained 'base'"):
        small.train(small.write(tmp_path), tmp_path / "nothing", "base", {"warm_start": str(tmp_path / "nowhere")})
