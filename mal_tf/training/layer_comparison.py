"""Whether a layer's weights mean in a network what those of the layer of that name mean in an earlier one.

Read from the two layer graphs alone, so that it holds for anybody's network. A layer means the same when

- its class and configuration are the same, and all that it reads, down to the features, is made the same way;
- it leads to the same outputs, of those that both networks have, and these have the same targets. Layers that lead to
  every output of their network, such as a shared bottom, are held to nothing here;
- it does not declare that its weights are laid out by target (`mixes_targets = True` on the layer or its class), or both
  networks have the same targets and heads. What reads such a layer does not ask how many targets it mixed.
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

#: Keys of a layer's configuration that say nothing of what its weights mean; shapes are in those of the weights.
_NEUTRAL = ("name", "trainable", "dtype", "build_config", "target_shape")


class Side:
    """One of the two networks.

    Args:
        network: the network.
        spec: its features.
        targets: what it learns, in order.
    """

    def __init__(self, network: Network, spec: FeatureSpec, targets: tuple[str, ...]):
        self.layers = {layer.name: layer for layer in network.model.layers}
        self.leads_to = graph.leads_to(network)
        self.heads = {head.output: (head.target, head.primary) for head in network.heads}
        self.targets = targets
        self.features = {feature.name: feature.meaning for feature in spec.features}

    def feature(self, tensor: tf.Tensor) -> tuple[str, Mapping[str, Any] | None]:
        """The feature whose rows an input of the network has."""
        name = graph.producer(tensor)[0].name
        return name, self.features.get(name)


class LayerComparison:
    """Compares the layers of two networks, new and old, by name."""

    def __init__(self, new: Side, old: Side):
        self._new, self._old = new, old
        self._found: dict[str, tuple[str, str]] = {}

    def difference(self, name: str) -> str:
        """Why a layer's weights can't be taken over; empty if they can.

        Args:
            name: of the layer; both networks have one.
        """
        where, why = self._layer(name)
        return why if where in ("", name) else f"{where}, which it reads: {why}"

    def _layer(self, name: str) -> tuple[str, str]:
        """The layer at which the difference is, and what it is; both empty if there is none."""
        if name not in self._found:
            new, old = self._new.layers[name], self._old.layers[name]
            own = self._mixture(new) or _configured(new, old) or self._outputs(name)
            self._found[name] = (name, own) if own else self._calls(new, old)
        return self._found[name]

    def _mixture(self, new: keras.layers.Layer) -> str:
        same = (self._new.targets, self._new.heads) == (self._old.targets, self._old.heads)
        return "the targets are others" if graph.mixes_targets(new) and not same else ""

    def _outputs(self, name: str) -> str:
        """Whether the layer leads to other outputs, or these learned other targets."""
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
        found = (self._call(call, earlier, new.name) for call, earlier in zip(*calls, strict=True))
        return next((difference for difference in found if difference[1]), ("", ""))

    def _call(self, new: Any, old: Any, reader: str) -> tuple[str, str]:
        now, then = graph.inputs(new), graph.inputs(old)
        if len(now) != len(then):
            return reader, _READS
        if graph.constants(new) != graph.constants(old):
            return reader, "what it reads is computed in another way"
        found = (self._tensor(*pair, reader) for pair in zip(now, then, strict=True))
        return next((difference for difference in found if difference[1]), ("", ""))

    def _tensor(self, now: tf.Tensor, then: tf.Tensor, reader: str) -> tuple[str, str]:
        (new, call, place), (old, earlier, earlier_place) = graph.producer(now), graph.producer(then)
        if new.weights and old.weights and not isinstance(new, StackedEmbedding) and new.name != old.name:
            return reader, f"it read {old.name}"
        if type(new) is not type(old):
            return reader, _READS
        if call.is_input:
            return "", "" if self._new.feature(now) == self._old.feature(then) else _FEATURES
        if isinstance(new, StackedEmbedding):
            cells = graph.inputs(call)[place], graph.inputs(earlier)[earlier_place]
            same = self._new.feature(cells[0]) == self._old.feature(cells[1]) and new.width == old.width
            return "", "" if same else _FEATURES
        if not new.weights:
            if _configured(new, old):
                return reader, "what it reads is computed in another way"
            where, why = self._call(call, earlier, reader)
            return ("", _FEATURES) if new.name == CLICK and why == _READS else (where, why)
        return self._mixed(new, old) if graph.mixes_targets(new) else self._layer(new.name)

    def _mixed(self, new: keras.layers.Layer, old: keras.layers.Layer) -> tuple[str, str]:
        """As `_layer`, whatever targets are mixed."""
        if why := _configured(new, old):
            return new.name, why
        both = {layer.name for layer in graph.below(new)} & {layer.name for layer in graph.below(old)}
        return next((found for name in sorted(both) if (found := self._layer(name))[1]), ("", ""))


def _configured(new: keras.layers.Layer, old: keras.layers.Layer) -> str:
    """Whether two layers are of different classes or configurations."""
    if type(new) is not type(old):
        return f"it was a {type(old).__name__}"
    now, then = _config(new), _config(old)
    return next((f"{key} was {then.get(key)}" for key in now if now[key] != then.get(key)), "")


def _config(layer: keras.layers.Layer) -> dict[str, Any]:
    try:
        return _without_names(layer.get_config())
    except NotImplementedError:  # A layer of a user's own that can't say; its weights have to fit.
        return {}


def _without_names(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_names(value) for key, value in config.items() if key not in _NEUTRAL}
    return [_without_names(item) for item in config] if isinstance(config, list | tuple) else config
