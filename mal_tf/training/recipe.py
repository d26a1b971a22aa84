"""Recipe of a training: everything that determines its result."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

from features.keras2 import keras
from features.lookup import lookup_model, table_sizes
from features.spec import FeatureSpec
from mal_tf.models import factory
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import Network
from mal_tf.training import warm_start
from mal_tf.training.config import TrainingConfig
from mal_tf.training.split import Split


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train, on which data, and how.

    Attributes:
        spec: features.
        vocabularies: lines of each vocabulary file, by feature.
        split: the clicks to train on.
        targets: the primary target and its auxiliaries, in configured order, which is that of the CAT class' bits.
        model: name and architecture of the model.
        training: batch size, loss, optimisers.
        seed: seed of the initial weights, and of the order of PCGrad's projections.
    """

    spec: FeatureSpec
    vocabularies: Mapping[str, Sequence[str]]
    split: Split
    targets: Sequence[str]
    model: ModelConfig
    training: TrainingConfig
    seed: int

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def steps(self) -> int:
        """Number of batches in the split."""
        return math.ceil(self.split.rows / self.training.batch_size)

    @functools.cached_property
    def lookup(self) -> keras.Model:
        """Model from raw values to rows of the embedding tables (`features.lookup.lookup_model`)."""
        return lookup_model(self.spec, self.vocabularies)

    @functools.cached_property
    def description(self) -> warm_start.Description:
        """Description that is saved with the weights, so that a later training can start from them."""
        return warm_start.describe(self.name, self.spec, self.model, self.targets, self.vocabularies)

    def build(self) -> Network:
        """Builds the network with initial weights."""
        sizes = table_sizes(self.spec, self.vocabularies)
        return factory.build(self.name, self.spec, sizes, self.model, self.targets)
