"""A network's twin for TPUs, its tables in TFRS' `TPUEmbedding`, and the way back to the network that is served."""

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
    """Trains in the place of a network whose tables TPUs can't hold as they are.

    Its model takes rows as `host_lookup` gives them, in batches of one size. On a TPU with embedding hardware the tables lie in
    there and are moved there, by the optimiser that the layer was given; elsewhere they are variables.

    Attributes:
        above: all layers but the tables.
        tables: TFRS' layer, one for the tables of all widths: a TPU takes no second one.
        configs: of its features.
        ordinary: the network.
    """

    above: keras.Model
    tables: tfrs.layers.embedding.TPUEmbedding
    configs: _Configs
    ordinary: Network

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The tables; where the TPU holds them, the one variable that stands for all and never moves."""
        return list(self.tables.trainable_variables)

    def hand_back(self) -> None:
        """Gives the ordinary network the weights of this one. A TPU's tables can be had from a checkpoint alone."""
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
    """Makes the twin, with the network's weights; to be called in the strategy's scope.

    Args:
        network: made outside that scope, for its tables stay on the host.
        description: of it.
        rows: of each replica's share of a batch, all alike: TPUs compile for one shape.
        optimizer: of the tables that a TPU holds; others are the training's to move.
    """
    # The tables of this one are left behind.
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
    found = tables({name: inputs[name] for name in configs})

    def embedded(user: str, stack: StackedEmbedding) -> tf.Tensor:
        return tf.cast(tf.reshape(found[user], [-1, *shapes[user], stack.width]), stack.compute_dtype)

    looked_up = [{table: [embedded(user, stack) for user in users[table]] for table in stack.sizes} for stack in stacks]
    cells = {name: tf.reshape(inputs[name], [-1, *shapes[name]]) for name in direct}
    model = keras.Model(inputs, above((cells, looked_up)), name=network.model.name)
    return Twin(model, network.heads, above, tables, configs, network)


def host_lookup(lookup: Callable[[dict], dict]) -> Callable[[dict], dict]:
    """`lookup` (`features.lookup.lookup_model`) for a twin: rows of rank 2 and more have a last axis of 1.

    TPUEmbedding takes the rows that it looks up from the input alone, and adds up what it finds along their last axis.
    """

    def shaped(values: tf.Tensor) -> tf.Tensor:
        return values if values.dtype != tf.int32 or values.shape.rank == 1 else values[..., tf.newaxis]

    return lambda raw: {name: shaped(values) for name, values in lookup(raw).items()}


def _looked_up_shape(shape: tf.TensorShape) -> tuple:
    return (*shape, 1) if shape.rank else ()


def _holds_tables() -> bool:
    """Whether TFRS puts tables into the embedding hardware of the strategy in scope, and not into variables."""
    strategy, features = tf.distribute.get_strategy(), tf.tpu.experimental.HardwareFeature.EmbeddingFeature
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        return False
    return strategy.extended.tpu_hardware_feature.embedding_feature != features.UNSUPPORTED


def _configs(network: Network, users: Mapping[str, Sequence[str]]) -> _Configs:
    """What is looked up where, by feature; tables begin as the network's are. `users`: features by table."""
    embedding = tf.tpu.experimental.embedding
    found: _Configs = {}

    def initial(stack: StackedEmbedding, table: str) -> Callable:
        return lambda shape, dtype=None: tf.convert_to_tensor(stack.embeddings[stack.row_range(table)])

    for stack in network.stacks:
        for number, (table, size) in enumerate(stack.sizes.items()):
            name, first = _table_name(stack, number), initial(stack, table)
            config = embedding.TableConfig(size, stack.width, first, combiner="sum", name=name)
            found |= {user: embedding.FeatureConfig(config, name=user) for user in users[table]}
    return found


def _table_name(stack: StackedEmbedding, number: int) -> str:
    """What a stack's table is called here: not every table's own name can be a variable's."""
    return f"{stack.name}_{number}"


def _copy(source: keras.Model, target: keras.Model) -> None:
    """Weights of all layers but tables, by name."""
    for layer in source.layers:
        if layer.weights and not isinstance(layer, StackedEmbedding):
            target.get_layer(layer.name).set_weights(layer.get_weights())
