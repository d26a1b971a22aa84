"""Warm start: restoring the weights of an earlier model, including tables that grew, with a report for each variable."""

import collections
import dataclasses
import hashlib
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from features.errors import MalTfError
from features.keras2 import keras
from features.lookup import HASHED, table_sizes
from features.spec import FeatureSpec
from mal_tf.layers.stacked_embedding import StackedEmbedding
from mal_tf.models import factory, graph
from mal_tf.models.config import ModelConfig, used_keys
from mal_tf.models.network import Network
from mal_tf.training.layer_comparison import LayerComparison, Side

WEIGHTS, NETWORK = "model.weights.h5", "network.json"

#: Key of `network.json` that holds the blocks of the network's drawing in the report, see `mal_tf.models.graph.Block`.
BLOCKS = "blocks"

log = logging.getLogger("mal_tf.training")


@dataclasses.dataclass(frozen=True)
class Description:
    """Everything from which a network is built, with the sizes and digests of its vocabularies.

    Attributes:
        name: name of the model.
        spec: features.
        model: architecture.
        targets: the primary and its auxiliaries.
        sizes: number of rows of each table.
        lines: number of lines of each vocabulary.
        digests: digests of those lines.
    """

    name: str
    spec: FeatureSpec
    model: ModelConfig
    targets: tuple[str, ...]
    sizes: Mapping[str, int]
    lines: Mapping[str, int]
    digests: Mapping[str, str]

    def build(self) -> Network:
        """Builds the network with initial weights."""
        return factory.build(self.name, self.spec, self.sizes, self.model, self.targets)


def describe(
    name: str, spec: FeatureSpec, model: ModelConfig, targets: Sequence[str], vocabularies: Mapping[str, Sequence[str]]
) -> Description:
    """Describes the network that is built from these arguments (see `Recipe`)."""
    lines = {feature.name: len(vocabularies[feature.name]) for feature in spec.with_vocabulary}
    digests = {feature: _digest(vocabularies[feature], count) for feature, count in lines.items()}
    return Description(name, spec, model.alone(name), tuple(targets), table_sizes(spec, vocabularies), lines, digests)


def write(directory: str, network: Network, description: Description) -> None:
    """Saves a trained network as `model.weights.h5` and `network.json`, so that a later training can start from it."""
    network.model.save_weights(str(pathlib.Path(directory) / WEIGHTS))
    fields = dataclasses.asdict(description)
    fields |= {key: getattr(description, key).model_dump(mode="json") for key in ("spec", "model")}
    fields[BLOCKS] = [dataclasses.asdict(block) for block in graph.blocks(network)]
    (pathlib.Path(directory) / NETWORK).write_text(json.dumps(fields, indent=1) + "\n")


def locate(path: str, name: str) -> str:
    """Directory of the training that `training.warm_start` names: `path` itself, or that of model `name` in the run `path`.

    Raises:
        MalTfError: there is neither.
    """
    for directory in (pathlib.Path(path), pathlib.Path(path) / "train" / name):
        if (directory / NETWORK).exists():
            return str(directory)
    raise MalTfError(
        f"training.warm_start: expected a run that trained '{name}', or a run's train/<model>; found neither in {path}"
    )


def _read(directory: str) -> Description:
    path = pathlib.Path(directory) / NETWORK
    try:
        fields = {key: value for key, value in json.loads(path.read_text()).items() if key != BLOCKS}
        fields |= {
            "spec": FeatureSpec.model_validate(fields["spec"]),
            "model": ModelConfig.model_validate(
                used_keys(fields["model"] | {"name": fields["name"], "compare_with": []})
            ),
        }
        return Description(**fields | {"targets": tuple(fields["targets"])})
    except (TypeError, KeyError, ValueError) as error:
        raise MalTfError(
            f"{path}: expected the description of a trained network; the file is broken, or written by another version "
            f"of mal-tf: {error}"
        ) from error


def take_over(
    network: Network, description: Description, vocabularies: Mapping[str, Sequence[str]], directory: str
) -> list[dict]:
    """Restores the weights of an earlier network in `network` where they have the same meaning.

    - The table of a feature is restored if width, type and out-of-vocabulary rows are the same and its old vocabulary is a
      prefix of the new one. Old entries keep their vectors, in their new rows, and the rows of new entries keep their initial
      values. Bucket boundaries must be equal. The table of hashed features is restored if width and rows are the same.
    - Other variables are matched by layer and index, and restored if the configuration of their layer, and everything that it
      reads, down to the features, is unchanged; see `mal_tf.training.layer_comparison`.

    Slot variables of optimisers are not saved with finished trainings. They start anew, for which the warm-up compensates.

    Args:
        network: the new network with initial weights.
        description: description of the new network.
        vocabularies: vocabularies of the new network.
        directory: directory of the earlier training.

    Returns:
        An entry for each variable, and for each feature of a table: `{"variable", "status", "reason"}`, where status is one
        of `restored`, `grown`, `new`, `dropped`.

    Raises:
        MalTfError: the earlier training can't be read.
    """
    earlier = _read(directory)
    old = earlier.build()
    try:
        old.model.load_weights(str(pathlib.Path(directory) / WEIGHTS))
    except (OSError, ValueError) as error:
        raise MalTfError(f"{directory}/{WEIGHTS} can't be read: {error}") from error
    report = [*_tables(network, old, description, earlier, vocabularies), *_layers(network, old, description, earlier)]
    counts = collections.Counter(entry["status"] for entry in report)
    log.info("warm start from %s: %s", directory, ", ".join(f"{n} {status}" for status, n in sorted(counts.items())))
    for entry in report:
        if entry["reason"]:
            log.info("warm start: %s is %s: %s", entry["variable"], entry["status"], entry["reason"])
    return report


def _entry(variable: str, status: str, reason: str = "") -> dict:
    return {"variable": variable, "status": status, "reason": reason}


def _tables(
    network: Network,
    old: Network,
    description: Description,
    earlier: Description,
    vocabularies: Mapping[str, Sequence[str]],
) -> Iterator[dict]:
    old_stacks = {feature: stack for stack in old.stacks for feature in stack.sizes}
    for stack in network.stacks:
        values = stack.embeddings.numpy()
        for feature, size in stack.sizes.items():
            name = f"{stack.name}/{feature}"
            if reason := _difference(feature, stack, old_stacks.get(feature), description, earlier, vocabularies):
                yield _entry(name, "new", reason)
                continue
            rows, size_before = stack.row_range(feature), earlier.sizes[feature]
            before = old_stacks[feature].embeddings[old_stacks[feature].row_range(feature)].numpy()
            values[rows.start : rows.start + size_before] = before
            grown = f"{size_before:,} rows kept, {size - size_before:,} new" if size > size_before else ""
            yield _entry(name, "grown" if grown else "restored", grown)
        stack.embeddings.assign(values)
    for feature in sorted(old_stacks.keys() - description.sizes.keys()):
        yield _entry(f"{old_stacks[feature].name}/{feature}", "dropped", "there is no such table any more")


def _difference(
    feature: str,
    stack: StackedEmbedding,
    before: StackedEmbedding | None,
    description: Description,
    earlier: Description,
    vocabularies: Mapping[str, Sequence[str]],
) -> str:
    """Reason why the table of a feature can't be restored; empty if it can."""
    if before is None:
        return "the earlier model has no such table"
    if stack.width != before.width:
        return f"it was {before.width} wide"
    if feature == HASHED:
        size = earlier.sizes[HASHED]
        return "" if description.sizes[HASHED] == size else f"it had {size:,} rows"
    now, then = description.spec.feature(feature), earlier.spec.feature(feature)
    if (now.type, now.dtype) != (then.type, then.dtype):
        return f"it was {then.type} of {then.dtype}"
    if not now.has_vocabulary:
        return "" if description.sizes[feature] == earlier.sizes[feature] else f"it had {earlier.sizes[feature]:,} rows"
    if not now.vocabulary_grows:
        same = description.digests[feature] == earlier.digests[feature]
        return "" if same else "its bucket boundaries are others (labels.grow_from keeps them)"
    oov = earlier.spec.vocabulary.oov_buckets
    if description.spec.vocabulary.oov_buckets != oov:
        return f"it had {oov} out-of-vocabulary rows"
    if _digest(vocabularies[feature], earlier.lines[feature]) != earlier.digests[feature]:
        return "its vocabulary does not begin with the earlier one (labels.grow_from keeps it)"
    return ""


def _layers(network: Network, old: Network, description: Description, earlier: Description) -> Iterator[dict]:
    """Restores everything but tables, by layer and index of the variable in it."""
    before = {layer.name: layer.weights for layer in _plain(old)}
    comparison = LayerComparison(
        Side(network, description.spec, description.targets), Side(old, earlier.spec, earlier.targets)
    )
    for layer in _plain(network):
        if layer.name not in before:
            reason = "the earlier model has no such layer"
        else:
            shapes = [[list(variable.shape) for variable in weights] for weights in (layer.weights, before[layer.name])]
            reason = comparison.difference(layer.name)
            reason = reason or ("" if shapes[0] == shapes[1] else f"its weights had shapes {shapes[1]}")
        for place, variable in enumerate(layer.weights):
            if not reason:
                variable.assign(before[layer.name][place])
            name = f"{layer.name}/{place}/{variable.name.split('/')[-1].removesuffix(':0')}"
            yield _entry(name, "new" if reason else "restored", reason)
    for name in sorted(before.keys() - {layer.name for layer in _plain(network)}):
        yield _entry(name, "dropped", "there is no such layer any more")


def _plain(network: Network) -> list[keras.layers.Layer]:
    return [layer for layer in network.model.layers if layer.weights and not isinstance(layer, StackedEmbedding)]


def _digest(lines: Sequence[str], count: int) -> str:
    return hashlib.sha256(json.dumps(list(lines[:count])).encode()).hexdigest()
