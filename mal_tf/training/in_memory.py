"""Training on labelled clicks in memory, from a table to a model that predicts from raw features."""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features import vocabulary
from features.errors import BadInput
from features.example import examples
from features.feature import ARROW_TYPE
from features.in_memory import arrow_table, typed_columns
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

#: Clicks that are predicted at a time.
_BATCH = 4096

#: Columns that clicks are sorted by for training.
_ORDER = ("timestamp", "user_id", "click_id")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model together with the lookup from raw features to its inputs, such as `mal_tf.fit` returns.

    Attributes:
        recipe: what it was trained on, and how.
        network: the Keras model from embedding rows to logits, and the meaning of its outputs.
        report: report of the training: examples, seconds, mean loss by output, ….

    Example:
        >>> import mal_tf
        >>> import pandas as pd
        >>> features = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "place"}])
        >>> clicks = pd.DataFrame({"click_id": [1, 2], "user_id": ["a", "b"], "timestamp": [0, 1], "mature": 1})
        >>> clicks = clicks.assign(place=["top", "side"], label_last=[1.0, 0.0])
        >>> trained = mal_tf.fit(clicks, features, mal_tf.ModelConfig(name="base", primary="last"))
        >>> trained.model.output_shape, trained.predict(clicks).shape
        ({'cvr': (None,)}, (2,))
    """

    recipe: Recipe
    network: Network
    report: Mapping[str, Any]

    @functools.cached_property
    def model(self) -> keras.Model:
        """Keras model from raw features to the CVR of the primary target, `{"cvr": float32 [batch]}`, for saving and serving."""
        return cvr_model(self.recipe.lookup, self.network)

    def predict(self, clicks: pd.DataFrame | pa.Table) -> np.ndarray:
        """Predicts the CVR of clicks.

        Args:
            clicks: a column per feature.

        Returns:
            float32 [clicks].

        Raises:
            BadInput: the column of a feature is missing or of another type.
        """
        raw = raw_features(clicks, self.recipe.spec)
        if not len(clicks):  # Keras does not predict an empty batch.
            return np.zeros(0, np.float32)
        return self.model.predict(raw, batch_size=_BATCH, verbose=0)["cvr"]


def cvr_model(lookup: keras.Model, network: Network) -> keras.Model:
    """Joins lookup and network to a model from raw features to the CVR of the primary target, `{"cvr": float32 [batch]}`."""
    logits = network.model(lookup.output)[network.primary.output]
    cvr = keras.layers.Activation("sigmoid", name="cvr")(logits)
    return keras.Model(lookup.input, {"cvr": cvr}, name=network.model.name)


def build(
    features: FeatureSpec, vocabularies: Mapping[str, Sequence[str]], model: ModelConfig, targets: Sequence[str]
) -> Network:
    """Builds the network of `model.name` with initial weights, for a training loop of your own.

    Args:
        features: features that the model reads.
        vocabularies: tokens or bucket boundaries by feature (`mal_tf.vocabularies`).
        model: architecture and primary target.
        targets: mechanisms to learn, including the primary, in the order of the CAT label's bits.

    Raises:
        MalTfError: there is no such model, its config does not fit the features and targets, or a vocabulary is missing.

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
    """Batches of labelled clicks in memory, in time order.

    Args:
        clicks: labelled clicks, as `mal_tf.labels` returns them.
        features: features that the model reads.
        lookup: model from raw features to embedding rows (`mal_tf.lookup_model`).
        targets: mechanisms whose labels are read.
        batch_size: clicks per batch; the last batch may be smaller.

    Returns:
        A dataset of pairs: embedding rows by feature name, as `lookup` returns them, and labels, float32 [batch] by target
        and int64 [batch] for `mature`.

    Raises:
        BadInput: a column is missing, of another type, or lacks the label of a click.

    Example:
        >>> import mal_tf
        >>> import pandas as pd
        >>> features = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "place"}])
        >>> clicks = pd.DataFrame({"click_id": [1, 2], "user_id": ["a", "b"], "timestamp": [0, 1], "mature": 1})
        >>> clicks = clicks.assign(place=["top", "side"], label_last=[1.0, 0.0])
        >>> lookup = mal_tf.lookup_model(features, mal_tf.vocabularies(features, clicks))
        >>> rows, labels = next(iter(mal_tf.batches(clicks, features, lookup, ["last"], batch_size=2)))
        >>> rows["place"].shape, labels["last"].numpy().tolist()
        (TensorShape([2]), [1.0, 0.0])
    """
    table = arrow_table(clicks, _ORDER).sort_by([(name, "ascending") for name in _ORDER])
    columns = label_columns(targets)
    label_types = {field.name: field.type for field in _labels(table, targets).schema}
    serialized = examples(table, features.arrow_types | label_types)

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
    """Trains a model in one pass over labelled clicks in time order. Clicks whose window has not closed have no weight.

    Args:
        clicks: labelled clicks, as `mal_tf.labels` returns them. Their mechanisms can be learned.
        features: features that the model reads.
        model: name, architecture and targets of the model.
        training_config: batch size, loss, optimisers; `TrainingConfig()` by default.
        vocabularies: tokens or bucket boundaries by feature; built from `clicks` by default.
        seed: seed of the initial weights.
        directory: directory for checkpoints, from which an interrupted training resumes, and TensorBoard's event files; a
            temporary one by default.

    Raises:
        BadInput: there are no clicks, or a column is missing or of another type.
        MalTfError: the config does not fit the features and labels, or a vocabulary is missing.

    Example:
        >>> import mal_tf
        >>> import numpy as np
        >>> import pandas as pd
        >>> features = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "place"}])
        >>> clicks = pd.DataFrame({"click_id": range(64), "user_id": "a", "timestamp": range(64), "mature": 1})
        >>> clicks["place"] = np.where(clicks.index % 2, "top", "side")
        >>> clicks["label_last"] = (clicks.index % 2).astype(float)
        >>> config = mal_tf.TrainingConfig(batch_size=8, learning_rate=0.02, embedding_learning_rate=0.5)
        >>> trained = mal_tf.fit(clicks, features, mal_tf.ModelConfig(name="base", primary="last"), config)
        >>> side, top = trained.predict(pd.DataFrame({"place": ["side", "top"]}))
        >>> bool(top > side)
        True
    """
    config = training_config or TrainingConfig()
    table = arrow_table(clicks, [*features.arrow_types, "mature"])
    if not table.num_rows:
        raise BadInput("clicks: expected clicks to train on, found a table without rows")
    mechanisms = [
        name.removeprefix("label_") for name in table.column_names if name.startswith("label_") and name != "label_cat"
    ]
    targets = model.targets(mechanisms)
    if vocabularies is None:
        vocabularies = vocabulary.vocabularies(features, table)
    labels = _labels(table, mechanisms)
    mature = np.asarray(labels["mature"]) == 1
    counts = LabelCounts.count({name: np.asarray(labels[f"label_{name}"])[mature] for name in mechanisms})
    split = Split([["clicks in memory"]], [[table.num_rows]], [[counts]], in_memory=True)
    recipe = Recipe(features, vocabularies, split, targets, model.alone(model.name), config, seed)
    ready = batches(table, features, recipe.lookup, targets, config.batch_size)
    with tempfile.TemporaryDirectory() if directory is None else contextlib.nullcontext(directory) as checkpoints:
        network, report = training.fit(recipe, checkpoints, ready)
    return Trained(recipe, network, report)


def _labels(table: pa.Table, mechanisms: Sequence[str]) -> pa.Table:
    """Labels of mechanisms and `mature`, with a value for every click."""
    labels = typed_columns(table, {name: ARROW_TYPE[dtype] for name, dtype in label_columns(mechanisms)})
    for name, column in zip(labels.column_names, labels.columns, strict=True):
        if missing := pc.sum(pc.is_null(column, nan_is_null=True)).as_py():
            raise BadInput(
                f"clicks: column '{name}': expected a value for every click, found {missing:,} without; leave these out"
            )
    return labels
