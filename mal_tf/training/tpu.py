"""Training on TPUs: a twin of the network with its tables in TFRS' `TPUEmbedding`, whose weights are copied back afterwards."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence

import tensorflow_recommenders as tfrs

from features.keras2 import keras, tf
from mal_tf.layers.stacked_embedding import StackedEmbedding
from mal_tf.models.network import Network
from mal_tf.training.optimizers import TPUOptimizer
from mal_tf.training.warm_start import Description

_Configs = dict[str, tf.tpu.experimental.embedding.FeatureConfig]


@dataclasses.dataclass(frozen=True)
class Twin(Network):
    """Twin that is trained on a TPU instead of a network whose stacked tables TPUs can't hold.

    Its model takes the rows of `host_lookup`, in batches of one size. On a TPU with embedding hardware, the tables are stored
    and updated there, by the optimiser of the layer; elsewhere they are variables.

    Attributes:
        above: all layers except the tables.
        tables: TFRS' embedding layer for the tables of all widths; a TPU supports only one.
        configs: configurations of the features of that layer.
        ordinary: the network that the twin stands for.
    """

    above: keras.Model
    tables: tfrs.layers.embedding.TPUEmbedding
    configs: _Configs
    ordinary: Network

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The tables. If the TPU holds them, a single placeholder variable that is never updated."""
        return list(self.tables.trainable_variables)

    def hand_back(self) -> None:
        """Copies the weights to the ordinary network. The tables of a TPU can only be read through a checkpoint."""
        host = tfrs.layers.embedding.TPUEmbedding(self.configs, optimizer=None)
        host.build(None)
        with tempfile.TemporaryDirectory() as directory:
            path = tf.train.Checkpoint(tables=self.tables).write(f"{directory}/tables")
            tf.train.Checkpoint(tables=host).read(path).assert_existing_objects_matched().expect_partial()
        by_name = {config.name: table for config, table in host.embedding_tables.items()}
        for stack in self.ordinary.stacks:
            parts = [by_name[_table_name(stack, number)] for number in range(len(stack.sizes))]
            stack.embeddings.assign(tf.concat(parts, axis=0))
        _copy(self.above, self.ordinary.model)


def twin(
    network: Network,
    description: Description,
    rows: int,
    optimizer: TPUOptimizer,
) -> Twin:
    """Creates the twin with the weights of the network. Call this in the scope of the strategy.

    Args:
        network: network that was created outside that scope, because its tables stay on the host.
        description: description of the network.
        rows: number of rows of each replica's share of a batch, which is fixed, since TPUs compile for one shape.
        optimizer: optimiser of the tables that a TPU holds. Otherwise the training's optimiser updates them.
    """
    # The tables of this small network are not used.
    small = dataclasses.replace(description, sizes=dict.fromkeys(description.sizes, 1)).build()
    stacks, spec = small.stacks, description.spec
    users = {table: [cell.name for cell in cells] for stack in stacks for table, cells in stack.input.items()}
    direct = {f.name: small.model.input[f.name] for f in spec.read_directly}
    above = keras.Model((direct, [stack.output for stack in stacks]), small.model.output, name="above")
    _copy(network.model, above)

    configs = _configs(network, users)
    tables = tfrs.layers.embedding.TPUEmbedding(configs, optimizer if _holds_tables() else None)
    shapes = {name: cell.shape[1:] for name, cell in small.model.input.items()}
    inputs = {
        name: keras.Input(_looked_up_shape(shapes[name]) if name in configs else shapes[name], rows, name, cell.dtype)
        for name, cell in small.model.input.items()
    }
    embeddings = tables({name: inputs[name] for name in configs})

    def embedded(user: str, stack: StackedEmbedding) -> tf.Tensor:
        return tf.cast(tf.reshape(embeddings[user], [-1, *shapes[user], stack.width]), stack.compute_dtype)

    looked_up = [{table: [embedded(user, stack) for user in users[table]] for table in stack.sizes} for stack in stacks]
    cells = {name: tf.reshape(inputs[name], [-1, *shapes[name]]) for name in direct}
    model = keras.Model(inputs, above((cells, looked_up)), name=network.model.name)
    return Twin(model, network.heads, above, tables, configs, network)


def host_lookup(lookup: Callable[[dict], dict]) -> Callable[[dict], dict]:
    """Wraps a lookup (`features.lookup.lookup_model`) for a twin: rows of rank 2 and more get a last axis of size 1.

    TPUEmbedding reads the rows from the input only, and sums the embeddings along their last axis.
    """

    def shaped(values: tf.Tensor) -> tf.Tensor:
        return values if values.dtype != tf.int32 or values.shape.rank == 1 else values[..., tf.newaxis]

    return lambda raw: {name: shaped(values) for name, values in lookup(raw).items()}


def _looked_up_shape(shape: tf.TensorShape) -> tuple:
    return (*shape, 1) if shape.rank else ()


def _holds_tables() -> bool:
    """Whether TFRS stores tables in the embedding hardware of the strategy in scope, instead of in variables."""
    strategy, features = tf.distribute.get_strategy(), tf.tpu.experimental.HardwareFeature.EmbeddingFeature
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        return False
    return strategy.extended.tpu_hardware_feature.embedding_feature != features.UNSUPPORTED


def _configs(network: Network, users: Mapping[str, Sequence[str]]) -> _Configs:
    """Table of each feature, initialised like that of the network. `users` are the features that use each table."""
    embedding = tf.tpu.experimental.embedding
    configs: _Configs = {}

    def initial(stack: StackedEmbedding, table: str) -> Callable:
        return lambda shape, dtype=None: tf.convert_to_tensor(stack.embeddings[stack.row_range(table)])

    for stack in network.stacks:
        for number, (table, size) in enumerate(stack.sizes.items()):
            name, first = _table_name(stack, number), initial(stack, table)
            config = embedding.TableConfig(size, stack.width, first, combiner="sum", name=name)
            configs |= {user: embedding.FeatureConfig(config, name=user) for user in users[table]}
    return configs


def _table_name(stack: StackedEmbedding, number: int) -> str:
    """Name of a stack's table that is valid for a variable, unlike some tables' own names."""
    return f"{stack.name}_{number}"


def _copy(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of all layers except tables, by name."""
    for layer in source.layers:
        if layer.weights and not isinstance(layer, StackedEmbedding):
            target.get_layer(layer.name).set_weights(layer.get_weights())
