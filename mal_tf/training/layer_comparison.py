"""Comparison of the layers of two networks, which decides for a warm start whether weights have the same meaning.

The comparison uses only the two layer graphs, so that it works for any network. A layer has the same meaning if

- its class and configuration are the same, and everything that it reads, down to the features, is computed the same way;
- it leads to the same outputs, among those that both networks have, and these have the same targets. This is not required
  of layers that lead to every output of their network, such as a shared bottom;
- it does not declare that its weights are laid out by target (`mixes_targets = True` on the layer or its class), or both
  networks have the same targets and heads. A layer that reads such a layer may have the same meaning nevertheless.
"""

from collections.abc import Mapping
from typing import Any

from features.keras2 import keras, tf
from features.spec import FeatureSpec
from mal_tf.layers.stacked_embedding import StackedEmbedding
from mal_tf.models import graph
from mal_tf.models.network import CLICK, Network

_FEATURES = "the features it reads are others"
_READS = "it reads other layers"

#: Keys of a layer's configuration that do not affect the meaning of its weights. Shapes are compared by those of the weights.
_NEUTRAL = ("name", "trainable", "dtype", "build_config", "target_shape")


class Side:
    """One of the two networks that are compared.

    Args:
        network: the network.
        spec: its features.
        targets: mechanisms that it learns, in order.
    """

    def __init__(self, network: Network, spec: FeatureSpec, targets: tuple[str, ...]):
        self.layers = {layer.name: layer for layer in network.model.layers}
        self.leads_to = graph.leads_to(network)
        self.heads = {head.output: (head.target, head.primary) for head in network.heads}
        self.targets = targets
        self.features = {feature.name: feature.meaning for feature in spec.features}

    def feature(self, tensor: tf.Tensor) -> tuple[str, Mapping[str, Any] | None]:
        """Name and meaning of the feature of a network input."""
        name = graph.producer(tensor)[0].name
        return name, self.features.get(name)


class LayerComparison:
    """Compares the layers of two networks, new and old, by name."""

    def __init__(self, new: Side, old: Side):
        self._new, self._old = new, old
        self._differences: dict[str, tuple[str, str]] = {}

    def difference(self, name: str) -> str:
        """Reason why the weights of a layer can't be restored; empty if they can.

        Args:
            name: name of the layer, which both networks have.
        """
        layer, reason = self._layer(name)
        return reason if layer in ("", name) else f"{layer}, which it reads: {reason}"

    def _layer(self, name: str) -> tuple[str, str]:
        """Name of the layer that differs, and the difference; both empty if there is none."""
        if name not in self._differences:
            new, old = self._new.layers[name], self._old.layers[name]
            own = self._mixture(new) or _configured(new, old) or self._outputs(name)
            self._differences[name] = (name, own) if own else self._calls(new, old)
        return self._differences[name]

    def _mixture(self, new: keras.layers.Layer) -> str:
        same = (self._new.targets, self._new.heads) == (self._old.targets, self._old.heads)
        return "the targets are others" if graph.mixes_targets(new) and not same else ""

    def _outputs(self, name: str) -> str:
        """Difference in the outputs that the layer leads to, or in their targets; empty if there is none."""
        sides = [(side.leads_to[name], side.heads) for side in (self._new, self._old)]
        if all(outputs == heads.keys() for outputs, heads in sides):
            return ""
        both = self._new.heads.keys() & self._old.heads.keys()
        now, then = ({output: heads[output] for output in outputs & both} for outputs, heads in sides)
        return "" if now == then else "it leads to other outputs, or these had other targets"

    def _calls(self, new: keras.layers.Layer, old: keras.layers.Layer) -> tuple[str, str]:
        calls = [[node for node in layer._inbound_nodes if not node.is_input] for layer in (new, old)]
        if len(calls[0]) != len(calls[1]):
            return new.name, _READS
        differences = (self._call(call, earlier, new.name) for call, earlier in zip(*calls, strict=True))
        return next((difference for difference in differences if difference[1]), ("", ""))

    def _call(self, new: Any, old: Any, reader: str) -> tuple[str, str]:
        now, then = graph.inputs(new), graph.inputs(old)
        if len(now) != len(then):
            return reader, _READS
        if graph.constants(new) != graph.constants(old):
            return reader, "what it reads is computed in another way"
        differences = (self._tensor(*pair, reader) for pair in zip(now, then, strict=True))
        return next((difference for difference in differences if difference[1]), ("", ""))

    def _tensor(self, now: tf.Tensor, then: tf.Tensor, reader: str) -> tuple[str, str]:
        (new, call, place), (old, earlier, earlier_place) = graph.producer(now), graph.producer(then)
        if new.weights and old.weights and not isinstance(new, StackedEmbedding) and new.name != old.name:
            return reader, f"it read {old.name}"
        if type(new) is not type(old):  # The click's vector is another layer if there is a single feature.
            return ("", _FEATURES) if new.name == CLICK else (reader, _READS)
        if call.is_input:
            return "", "" if self._new.feature(now) == self._old.feature(then) else _FEATURES
        if isinstance(new, StackedEmbedding):
            cells = graph.inputs(call)[place], graph.inputs(earlier)[earlier_place]
            same = self._new.feature(cells[0]) == self._old.feature(cells[1]) and new.width == old.width
            return "", "" if same else _FEATURES
        if not new.weights:
            if _configured(new, old):
                return reader, "what it reads is computed in another way"
            layer, reason = self._call(call, earlier, reader)
            return ("", _FEATURES) if new.name == CLICK and reason == _READS else (layer, reason)
        return self._mixed(new, old) if graph.mixes_targets(new) else self._layer(new.name)

    def _mixed(self, new: keras.layers.Layer, old: keras.layers.Layer) -> tuple[str, str]:
        """Difference of a layer that mixes targets, without regard to which targets it mixes; see `_layer`."""
        if reason := _configured(new, old):
            return new.name, reason
        both = {layer.name for layer in graph.below(new)} & {layer.name for layer in graph.below(old)}
        return next((difference for name in sorted(both) if (difference := self._layer(name))[1]), ("", ""))


def _configured(new: keras.layers.Layer, old: keras.layers.Layer) -> str:
    """Difference of the classes or configurations of two layers; empty if there is none."""
    if type(new) is not type(old):
        return f"it was a {type(old).__name__}"
    now, then = _config(new), _config(old)
    return next((f"{key} was {then.get(key)}" for key in now if now[key] != then.get(key)), "")


def _config(layer: keras.layers.Layer) -> dict[str, Any]:
    try:
        return _without_names(layer.get_config())
    except NotImplementedError:  # A user's layer without get_config; only the shapes of its weights are compared.
        return {}


def _without_names(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_names(value) for key, value in config.items() if key not in _NEUTRAL}
    return [_without_names(item) for item in config] if isinstance(config, list | tuple) else config
