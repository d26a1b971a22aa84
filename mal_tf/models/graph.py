"""Layer graph of a functional Keras model: inputs of each layer, outputs it leads to, and blocks for a drawing."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from features.keras2 import keras, tf
from mal_tf.models.network import CLICK, Network


def producer(tensor: tf.Tensor) -> tuple[keras.layers.Layer, Any, int]:
    """The layer that produced a symbolic tensor, the node of that call, and the tensor's index among its outputs."""
    layer, node, index = tensor._keras_history
    return layer, layer._inbound_nodes[node], index


def inputs(node: Any) -> list[tf.Tensor]:
    """The symbolic tensors that a call reads, in order."""
    return tf.nest.flatten(node.keras_inputs)


def constants(node: Any) -> list[str]:
    """The other arguments of a call, such as the bounds of a slice."""
    arguments = tf.nest.flatten((node.call_args, node.call_kwargs))
    return [repr(argument) for argument in arguments if not hasattr(argument, "_keras_history")]


def mixes_targets(layer: keras.layers.Layer) -> bool:
    """Whether a layer declares that its weights are laid out by target: attribute `mixes_targets` of class or layer."""
    return bool(getattr(layer, "mixes_targets", False))


def readers(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """The layers that read the outputs of each layer, by its name."""
    by_layer: dict[str, list[keras.layers.Layer]] = {layer.name: [] for layer in model.layers}
    for reader in model.layers:
        for node in reader._inbound_nodes:
            for tensor in () if node.is_input else inputs(node):
                layer = producer(tensor)[0]
                if reader not in by_layer.setdefault(layer.name, []):
                    by_layer[layer.name].append(reader)
    return by_layer


def leads_to(network: Network) -> dict[str, frozenset[str]]:
    """Names of the outputs that the weights of each layer influence, by the layer's name."""
    own: dict[str, set[str]] = {}
    for output, tensor in network.model.output.items():
        own.setdefault(producer(tensor)[0].name, set()).add(output)
    reading, outputs = readers(network.model), {}

    def visit(name: str) -> frozenset[str]:
        if name not in outputs:
            outputs[name] = frozenset(own.get(name, ())).union(*(visit(reader.name) for reader in reading[name]))
        return outputs[name]

    for layer in network.model.layers:
        visit(layer.name)
    return outputs


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of a drawing of the network: a layer with weights above the click's vector.

    Attributes:
        name: name of the layer.
        title: description, such as `Expert 128→64`.
        reads: names of the blocks that it reads; if empty, it reads the click's vector.
        served: whether the primary output depends on it.
        target: target of the head whose output it produces, if any.
        primary: whether that head is the one that is served.
    """

    name: str
    title: str
    reads: tuple[str, ...]
    served: bool
    target: str | None = None
    primary: bool = False


def blocks(network: Network) -> list[Block]:
    """The blocks of a network, each after those it reads."""
    leading, served = leads_to(network), network.primary.output
    by_name: dict[str, Block] = {}
    for layer in _above_click(network):
        reads = [read.name for read in below(layer) if read.name in by_name]
        by_name[layer.name] = Block(layer.name, title(layer), _direct(reads, by_name), served in leading[layer.name])
    for head in network.heads:
        reads = [layer.name for layer in _weighted(network.model.output[head.output])]
        if len(reads) == 1 and leading[reads[0]] == {head.output}:
            by_name[reads[0]] = dataclasses.replace(by_name[reads[0]], target=head.target, primary=head.primary)
        else:
            direct = _direct(reads, by_name)
            by_name[head.output] = Block(head.output, "", direct, head.primary, head.target, head.primary)
    return list(by_name.values())


def title(layer: keras.layers.Layer) -> str:
    """Title of a layer: its attribute `title` if it has one, else its class and the widths in its attribute `units`."""
    if own := getattr(layer, "title", None):
        return str(own)
    units = getattr(layer, "units", ())
    widths = "→".join(map(str, units if isinstance(units, list | tuple) else [units]))
    return f"{type(layer).__name__} {widths}".strip()


def _weighted(tensor: tf.Tensor) -> list[keras.layers.Layer]:
    """The nearest layers with weights from which a tensor is computed."""
    layer, node, _ = producer(tensor)
    if layer.weights:
        return [layer]
    if layer.name == CLICK or node.is_input:
        return []
    layers = [layer for read in inputs(node) for layer in _weighted(read)]
    return list({layer.name: layer for layer in layers}.values())


def below(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The nearest layers with weights below a layer."""
    for node in layer._inbound_nodes:
        for tensor in () if node.is_input else inputs(node):
            yield from _weighted(tensor)


def _above_click(network: Network) -> list[keras.layers.Layer]:
    """The layers with weights above the click's vector, each after those it reads, in the order of the heads."""
    visited: dict[str, keras.layers.Layer] = {}

    def visit(layer: keras.layers.Layer) -> None:
        if layer.name not in visited:
            for read in below(layer):
                visit(read)
            visited[layer.name] = layer

    for head in network.heads:
        for layer in _weighted(network.model.output[head.output]):
            visit(layer)
    return list(visited.values())


def _direct(reads: Sequence[str], by_name: Mapping[str, Block]) -> tuple[str, ...]:
    """The blocks in `reads` that are not also read indirectly, through another of them."""
    indirect: set[str] = set()
    for name in reads:
        queue = list(by_name[name].reads)
        while queue:
            indirect.add(read := queue.pop())
            queue += by_name[read].reads
    return tuple(dict.fromkeys(name for name in reads if name not in indirect))
