"""Training on labelled clicks in memory: one call from a table to a model that predicts from raw features."""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from features import vocabulary
from features.example import examples
from features.keras2 import keras, tf
from features.lookup import table_sizes
from features.parsing import parse_features, raw_features
from features.spec import FeatureSpec
from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.models import factory
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import Network
from mal_tf.training import fit as training
from mal_tf.training.config import TrainingConfig
from mal_tf.training.dataset import label_columns
from mal_tf.training.recipe import Recipe
from mal_tf.training.split import Split

#: Clicks predicted at a time.
_BATCH = 4096


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model, with what turns raw features into its inputs.

    Attributes:
        recipe: what it was trained on, and how.
        network: the Keras model from embedding rows to logits, and what its outputs mean.
        report: of the training: examples, seconds, mean loss by output, ….
    """

    recipe: Recipe
    network: Network
    report: Mapping[str, Any]

    @functools.cached_property
    def model(self) -> keras.Model:
        """Raw features to `{"cvr": float32 [batch]}`, the primary target's, as a Keras model that can be saved and loaded."""
        logits = self.network.model(self.recipe.lookup.output)[self.network.primary.output]
        cvr = keras.layers.Activation("sigmoid", name="cvr")(logits)
        return keras.Model(self.recipe.lookup.input, {"cvr": cvr}, name=self.network.model.name)

    def predict(self, clicks: pd.DataFrame | pa.Table) -> np.ndarray:
        """Predicts the CVR of clicks, float32 [clicks], from a column per feature."""
        raw = raw_features(clicks, self.recipe.spec)
        return self.model.predict(raw, batch_size=_BATCH, verbose=0)["cvr"]


def build(
    features: FeatureSpec, vocabularies: Mapping[str, Sequence[str]], model: ModelConfig, targets: Sequence[str]
) -> Network:
    """Builds the model that `model.name` names, with initial weights, for a training loop of one's own.

    Args:
        features: the feature spec.
        vocabularies: tokens or bucket boundaries by feature (`mal_tf.vocabularies`).
        model: architecture and primary target.
        targets: mechanisms to learn, the primary among them, in the order of the CAT label's bits.

    Example:
        >>> import mal_tf
        >>> features = mal_tf.FeatureSpec(features=[mal_tf.CategoricalFeature(type="categorical", name="place")])
        >>> config = mal_tf.ModelConfig(name="mal", primary="last")
        >>> network = mal_tf.build(features, {"place": ["top", "side"]}, config, ["last", "linear"])
        >>> network.primary
        Head(output='last', target='last', primary=True)
    """
    return factory.build(model.name, features, table_sizes(features, vocabularies), model, targets)


def batches(
    clicks: pd.DataFrame | pa.Table, features: FeatureSpec, lookup: keras.Model, targets: Sequence[str], batch_size: int
) -> tf.data.Dataset:
    """Batches of labelled clicks in memory, in time order: (embedding rows by feature, labels by target and `mature`).

    Args:
        clicks: as `mal_tf.labels` returns them.
        features: the feature spec.
        lookup: raw features to embedding rows (`mal_tf.lookup_model`).
        targets: mechanisms whose labels are read.
        batch_size: clicks per batch; the last batch may be smaller.
    """
    table = clicks if isinstance(clicks, pa.Table) else pa.Table.from_pandas(clicks, preserve_index=False)
    table = table.sort_by([("timestamp", "ascending"), ("user_id", "ascending"), ("click_id", "ascending")])
    columns = label_columns(targets)
    serialized = examples(table, [*(f.name for f in features.features), *(name for name, _ in columns)])

    def split(batch: tf.Tensor) -> tuple[dict, dict]:
        parsed = parse_features(batch, features, columns)
        labels = {name.removeprefix("label_"): parsed.pop(name) for name, _ in columns}
        return lookup(parsed), labels

    dataset = tf.data.Dataset.from_tensor_slices(tf.constant(serialized, tf.string)).batch(batch_size)
    return dataset.map(split, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def fit(
    clicks: pd.DataFrame | pa.Table,
    features: FeatureSpec,
    model: ModelConfig,
    training_config: TrainingConfig | None = None,
    *,
    vocabularies: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    directory: str | None = None,
) -> Trained:
    """Trains a model in one pass over labelled clicks, in time order; clicks whose window has not closed do not count.

    Args:
        clicks: as `mal_tf.labels` returns them. Their mechanisms are what can be learned.
        features: the feature spec.
        model: which model, its architecture and primary target.
        training_config: batch size, loss, optimisers; `TrainingConfig()` by default.
        vocabularies: tokens or bucket boundaries by feature; made from `clicks` by default.
        seed: of the initial weights.
        directory: for checkpoints and TensorBoard's event files; a training that was cut short goes on from what is in it. A
            temporary one by default.

    Raises:
        MalTfError: no clicks, or the config does not fit the features and labels.
    """
    config = training_config or TrainingConfig()
    table = clicks if isinstance(clicks, pa.Table) else pa.Table.from_pandas(clicks, preserve_index=False)
    mechanisms = [
        name.removeprefix("label_") for name in table.column_names if name.startswith("label_") and name != "label_cat"
    ]
    targets = model.targets(mechanisms)
    vocabularies = vocabularies or vocabulary.vocabularies(features, table)
    mature = np.asarray(table["mature"]) == 1
    counts = LabelCounts.count({name: np.asarray(table[f"label_{name}"])[mature] for name in mechanisms})
    split = Split([["clicks in memory"]], [[table.num_rows]], [[counts]])
    recipe = Recipe(features, vocabularies, split, targets, model.alone(model.name), config, seed)
    ready = batches(table, features, recipe.lookup, targets, config.batch_size)
    with tempfile.TemporaryDirectory() if directory is None else contextlib.nullcontext(directory) as place:
        network, report = training.fit(recipe, place, ready)
    return Trained(recipe, network, report)
