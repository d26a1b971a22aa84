"""Multi-attribution learning for conversion-rate models: attribution labels, models, training, evaluation and export.

Everything in `__all__` is loaded on first use, so that `import mal_tf` takes milliseconds, and TensorFlow is imported when a
model is needed. After `import mal_tf`, saved models can be loaded with `tf_keras.models.load_model`.

Example:
    >>> import mal_tf
    >>> mal_tf.mechanism("time_decay", half_life_hours=12).type
    'time_decay'
"""

import importlib
from typing import TYPE_CHECKING, Any

import features  # noqa: F401 - selects Keras 2 before anything imports TensorFlow
from mal_tf import keras_hook

if TYPE_CHECKING:
    from features.errors import MalTfError
    from features.keras2 import keras
    from features.lookup import lookup_model
    from features.parsing import raw_features
    from features.spec import (
        CategoricalFeature,
        FeatureSpec,
        HistoryFeature,
        NumericFeature,
        SimilarityFeature,
        VocabularyConfig,
    )
    from features.vocabulary import vocabularies
    from mal_tf import layers
    from mal_tf.attribution.catalog import register
    from mal_tf.attribution.config import AttributionConfig, MechanismConfig, mechanism
    from mal_tf.attribution.in_memory import labels
    from mal_tf.attribution.journeys import Journeys
    from mal_tf.attribution.mechanism import DataDrivenMechanism, Mechanism
    from mal_tf.attribution.touchpoints import TouchpointConfig
    from mal_tf.evaluation import metrics
    from mal_tf.evaluation.in_memory import evaluate
    from mal_tf.models.config import ModelConfig
    from mal_tf.models.network import Head, Network
    from mal_tf.serving.in_memory import export
    from mal_tf.training import losses
    from mal_tf.training.config import TrainingConfig
    from mal_tf.training.in_memory import Trained, batches, build, fit

__version__ = "0.1.0"

__all__ = [
    "AttributionConfig",
    "CategoricalFeature",
    "DataDrivenMechanism",
    "FeatureSpec",
    "Head",
    "HistoryFeature",
    "Journeys",
    "MalTfError",
    "Mechanism",
    "MechanismConfig",
    "ModelConfig",
    "Network",
    "NumericFeature",
    "SimilarityFeature",
    "TouchpointConfig",
    "Trained",
    "TrainingConfig",
    "VocabularyConfig",
    "batches",
    "build",
    "evaluate",
    "export",
    "fit",
    "keras",
    "labels",
    "layers",
    "lookup_model",
    "losses",
    "mechanism",
    "metrics",
    "raw_features",
    "register",
    "vocabularies",
]

#: Where each name is defined, as module:name, or module for a module. The imports above tell type checkers the same.
_HOMES = {
    "AttributionConfig": "mal_tf.attribution.config:AttributionConfig",
    "CategoricalFeature": "features.spec:CategoricalFeature",
    "DataDrivenMechanism": "mal_tf.attribution.mechanism:DataDrivenMechanism",
    "FeatureSpec": "features.spec:FeatureSpec",
    "Head": "mal_tf.models.network:Head",
    "HistoryFeature": "features.spec:HistoryFeature",
    "Journeys": "mal_tf.attribution.journeys:Journeys",
    "MalTfError": "features.errors:MalTfError",
    "Mechanism": "mal_tf.attribution.mechanism:Mechanism",
    "MechanismConfig": "mal_tf.attribution.config:MechanismConfig",
    "ModelConfig": "mal_tf.models.config:ModelConfig",
    "Network": "mal_tf.models.network:Network",
    "NumericFeature": "features.spec:NumericFeature",
    "SimilarityFeature": "features.spec:SimilarityFeature",
    "TouchpointConfig": "mal_tf.attribution.touchpoints:TouchpointConfig",
    "Trained": "mal_tf.training.in_memory:Trained",
    "TrainingConfig": "mal_tf.training.config:TrainingConfig",
    "VocabularyConfig": "features.spec:VocabularyConfig",
    "batches": "mal_tf.training.in_memory:batches",
    "build": "mal_tf.training.in_memory:build",
    "evaluate": "mal_tf.evaluation.in_memory:evaluate",
    "export": "mal_tf.serving.in_memory:export",
    "fit": "mal_tf.training.in_memory:fit",
    "keras": "features.keras2:keras",
    "labels": "mal_tf.attribution.in_memory:labels",
    "layers": "mal_tf.layers",
    "lookup_model": "features.lookup:lookup_model",
    "losses": "mal_tf.training.losses",
    "mechanism": "mal_tf.attribution.config:mechanism",
    "metrics": "mal_tf.evaluation.metrics",
    "raw_features": "features.parsing:raw_features",
    "register": "mal_tf.attribution.catalog:register",
    "vocabularies": "features.vocabulary:vocabularies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mal_tf' has no attribute '{name}'; it offers: {', '.join(__all__)}")
    module, _, attribute = _HOMES[name].partition(":")
    value = importlib.import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


keras_hook.install()
