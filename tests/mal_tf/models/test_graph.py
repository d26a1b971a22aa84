"""What the layer graph of a network says of its blocks."""

import pytest

from features.keras2 import keras
from mal_tf.layers.tower import MLP
from mal_tf.models import graph
from mal_tf.models.network import Head, Network
from tests.support.models import build


def blocks(name, **options):
    return {block.name: block for block in graph.blocks(build(name, **options))}


def test_blocks_of_mal_are_its_towers_fusion_and_heads():
    found = blocks("mal", tower_units=(8, 4))
    assert found["bottom"].reads == ()
    assert found["aka_first_tower"].title == "MLP 8→4"
    assert found["aka_first_tower"].reads == ("bottom",)
    assert set(found["fusion"].reads) == {f"aka_{name}_tower" for name in ("first", "last", "linear", "cat")} | {
        "last_tower"
    }
    assert (found["last_head"].target, found["last_head"].primary, found["last_head"].served) == ("last", True, True)
    assert (found["aka_first_head"].target, found["aka_first_head"].served) == ("first", False)
    assert found["aka_cat"].target == "cat"


@pytest.mark.parametrize("name", ["ple", "home", "moae"])
def test_a_block_stands_after_those_it_reads_and_reads_none_of_them_twice(name):
    seen = {}
    for block in graph.blocks(build(name)):
        assert set(block.reads) <= seen.keys()
        below = set().union(*(seen[read] for read in block.reads))
        assert not below & set(block.reads)
        seen[block.name] = below | set(block.reads)
    assert {block.target for block in graph.blocks(build(name))} >= {"first", "last", "linear"}


def test_any_functional_model_has_blocks_and_an_output_of_several_layers_is_one():
    class Tilt(keras.layers.Dense):
        title = "a tilt"

    x = keras.Input((3,), name="x")
    low, high = Tilt(1, name="low")(x), MLP((2, 1), name="high")(x)
    outputs = {"bought": keras.layers.Reshape((), name="bought")(low + high)}
    network = Network(keras.Model(x, outputs), (Head("bought", "bought", primary=True),))
    low, high, head = graph.blocks(network)
    assert (low.title, high.title) == ("a tilt", "MLP 2→1")
    assert (head.name, set(head.reads), head.served) == ("bought", {"low", "high"}, True)


def test_outputs_that_a_layer_leads_to():
    found = graph.leads_to(build("natal", cat=False))
    assert found["bottom"] == {"first", "last", "linear"}
    assert found["first_tower_1"] == {"first", "last"}
    assert found["fusion_1"] == {"last"}
