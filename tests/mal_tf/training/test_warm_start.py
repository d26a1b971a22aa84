"""What an earlier model's weights become in a later one, variable by variable."""

import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import keras
from features.spec import FeatureSpec
from mal_tf.models.config import ModelConfig
from mal_tf.training import warm_start
from tests.mal_tf.training import small


def made(name="mal", seed=1, spec=small.SPEC, vocabularies=small.VOCABULARIES, targets=small.TARGETS, **model):
    """A network with its own initial weights, and its description."""
    keras.utils.set_random_seed(seed)
    description = warm_start.describe(
        name, spec, ModelConfig(name=name, primary="last", **small.SMALL | model), targets, vocabularies
    )
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
    assert report["bottom/0/kernel"] == report["last_tower/1/bias"] == ("restored", "")
    assert report["first_tower/0/kernel"] == ("new", "the earlier model has no such layer")
    assert report["fusion"] == report["aka_cat"] == ("dropped", "there is no such layer any more")
    np.testing.assert_array_equal(after["bottom/0"], old["bottom/0"])


def test_widths_that_changed_and_targets_in_another_order(earlier):
    directory, _ = earlier
    before, after, report = taken_over(directory, tower_units=(5,), targets=("first", "last", "linear"))
    assert report["last_tower/0/kernel"] == ("new", "its shape was (8, 4), is (8, 5)")
    assert report["bottom/0/kernel"] == ("restored", "")
    assert report["aka_cat/1/bias"] == ("new", "the targets are others")
    np.testing.assert_array_equal(after["aka_cat/1"], before["aka_cat/1"])


def test_with_other_features_only_what_belongs_to_a_feature_is(earlier):
    directory, old = earlier
    shop, item, _, seen = small.SPEC.features
    wide = shop.model_copy(update={"embedding_dim": 6})
    _, after, report = taken_over(directory, spec=FeatureSpec(features=(item, wide, seen)))
    assert report["embedding_6/shop"] == ("new", "it was 4 wide")
    assert report["embedding_4/item"] == report["attention_seen/0/kernel"] == ("restored", "")
    assert report["embedding_4/price"] == ("dropped", "there is no such feature any more")
    assert report["bottom/1/bias"] == ("new", "the features of a click are others")
    np.testing.assert_array_equal(after["attention_seen/0"], old["attention_seen/0"])


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
