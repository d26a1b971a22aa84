"""Random batches with the shape of the MAC data set, the reference workload of the training benchmarks."""

import dataclasses
import pathlib

import numpy as np
import yaml

from benchmarks.measure import ROOT
from features.spec import FeatureSpec
from mal_tf.models.config import ModelConfig
from mal_tf.training.config import TrainingConfig
from mal_tf.training.recipe import Recipe
from mal_tf.training.split import Split

#: PyMAL's settings for the target `last`.
CONFIG = ROOT / "examples" / "mac" / "last.yaml"

#: Rows of each feature's table, of which row 0 is padding.
SIZES = {
    "user_feat0": 5,
    "user_feat1": 8,
    "user_feat2": 12,
    "user_feat3": 24,
    "user_feat4": 60,
    "user_feat5": 100,
    "ad_feat0": 200_000,
    "ad_feat1": 50_000,
    "ad_feat2": 10_000,
    "ad_feat3": 5_000,
    "ad_feat4": 1_000,
    "ad_feat5": 100,
    "context_feat0": 30,
    "context_feat1": 24,
    "context_feat2": 7,
    "context_feat3": 10,
}

#: Number of a table's rows, spread over it, that have gradients, so that a larger table has no more distinct rows in a batch.
ACTIVE = 200_000

#: Share of the clicks that have a label above 0.
_POSITIVE = 0.03


@dataclasses.dataclass(frozen=True)
class Work:
    """The reference workload, with PyMAL's settings.

    Attributes:
        spec: the features.
        model: the architecture.
        training: the training config.
        targets: the primary target and the auxiliaries.
    """

    spec: FeatureSpec
    model: ModelConfig
    training: TrainingConfig
    targets: tuple[str, ...]

    def recipe(self, name: str, seed: int) -> Recipe:
        """Return the recipe of the model called `name`, with tables of `SIZES` and without clicks."""
        first = 1 + self.spec.vocabulary.oov_buckets
        vocabularies = {feature: range(first, size) for feature, size in SIZES.items()}
        return Recipe(self.spec, vocabularies, Split([], []), self.targets, self.model.alone(name), self.training, seed)


def load(path: pathlib.Path = CONFIG, **training) -> Work:
    """Read the config; `training` overrides keys of its `training` block."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    model = ModelConfig.model_validate(raw["model"])
    targets = model.targets([mechanism["name"] for mechanism in raw["attribution"]["mechanisms"]])
    spec = FeatureSpec(features=raw["features"])
    return Work(spec, model, TrainingConfig.model_validate(raw["training"] | training), targets)


def batches(work: Work, count: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draw rows and labels at random.

    The popularity of the k-th token is proportional to 1 / k, and histories have at least 2 entries.

    Args:
        work: features and batch size.
        count: number of batches.
        seed: seed of the random numbers.

    Returns:
        Rows by feature and labels by target with `mature`: [count, batch, …].
    """
    rng, shape = np.random.default_rng(seed), (count, work.training.batch_size)

    def rows(feature: str, shape: tuple[int, ...]) -> np.ndarray:
        return (SIZES[feature] ** rng.random(shape)).astype(np.int32)

    inputs = {}
    for feature in work.spec.scalars:
        inputs[feature.name] = np.minimum(rows(feature.name, shape), SIZES[feature.name] - 1)
    for feature in work.spec.histories:
        filled = np.arange(feature.length) < rng.integers(2, feature.length + 1, shape)[..., None]
        inputs[feature.name] = np.where(filled, rows(feature.of, (*shape, feature.length)), 0)
    for feature in work.spec.features:
        if feature.type == "similarity":
            inputs[feature.name] = rng.uniform(-1, 1, (*shape, feature.length)).astype(np.float32)
    labels = {target: (rng.random(shape) < _POSITIVE).astype(np.float32) for target in work.targets}
    return inputs, labels | {"mature": np.ones(shape, np.int64)}
