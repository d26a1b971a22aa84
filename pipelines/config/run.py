"""The top-level configuration of a run, an immutable model of its YAML file in which unknown keys are errors."""

import functools
from collections.abc import Sequence

import pydantic
import yaml

from features.errors import MalTfError
from features.frozen import Frozen, Path
from features.spec import AnyFeature, FeatureSpec, VocabularyConfig
from mal_tf.attribution.config import READY, AttributionConfig
from mal_tf.calibration import Method
from mal_tf.models.config import AUTO, ModelConfig, used_keys
from mal_tf.training.config import TrainingConfig
from pipelines.config.evaluation import EvaluationConfig
from pipelines.config.labels import LabelsConfig, TFRecordsConfig
from pipelines.config.tuning import TuningConfig
from pipelines.core import stores
from pipelines.core.config_file import ConfigFile
from pipelines.labels.sources import SourceConfig


class ValidationConfig(Frozen):
    """Data validation by TensorFlow Data Validation (TFDV).

    Attributes:
        schema_file: reviewed schema (`schema.pbtxt`), relative to the config. Without it, a schema is inferred from the
            run's training split, which only checks that the splits agree.
    """

    schema_file: Path | None = None


class CalibrationConfig(Frozen):
    """A map from the model's logit to the observed CVR, exported as part of the model.

    Attributes:
        method: `isotonic` regression, or `platt` scaling with two parameters; see `mal_tf.calibration.curve`.
        by: categorical feature whose values get separate maps.
        segments: number of segments (days, if `labels.segment_hours` is 24) with clicks at the end of the training split that
            the map is fitted on. They are held out from training, so that the model has not seen the clicks.
        min_positives: values with fewer positives use the map of all clicks. If all clicks together have fewer, a warning is
            logged.
    """

    method: Method
    by: str | None = None
    segments: int = pydantic.Field(1, ge=1)
    min_positives: int = pydantic.Field(400, ge=1)


class ExportConfig(Frozen):
    """Export of the trained models as SavedModels.

    Attributes:
        warmup_requests: number of real examples in the warm-up file for TensorFlow Serving.
        user_features: features that are the same for all ads of a request. If given, the model has a signature
            `predict_candidates`, which takes and computes them once per request.
    """

    warmup_requests: int = pydantic.Field(10, ge=0, le=1000)
    user_features: tuple[str, ...] = ()


class RunConfig(ConfigFile):
    """The configuration of a run.

    Attributes:
        name: name of the run; its directory is `runs/<name>` unless the command line gives another.
        seed: random seed of the whole run.
        sources: where the logs are and what their columns mean.
        features: input features of the model.
        vocabulary: size limits of the vocabularies.
        attribution: attribution mechanisms and the clicks that are eligible for credit.
        labels: the label job; not used with ready-made labels.
        tfrecords: the files of labelled clicks.
        validation: data validation.
        model: primary target, auxiliary targets, architecture.
        training: optimisers, batch size, loss.
        calibration: calibration of the exported predictions; none by default.
        evaluation: metrics, slices, intervals; see docs/evaluation.md.
        export: the SavedModels.
        tuning: the search of `mal-tf tune`.
    """

    seed: int = pydantic.Field(17, ge=0)
    sources: SourceConfig
    features: tuple[AnyFeature, ...]
    vocabulary: VocabularyConfig = VocabularyConfig()
    attribution: AttributionConfig
    labels: LabelsConfig | None = None
    tfrecords: TFRecordsConfig = TFRecordsConfig()
    validation: ValidationConfig = ValidationConfig()
    model: pydantic.SerializeAsAny[ModelConfig]
    training: TrainingConfig = TrainingConfig()
    calibration: CalibrationConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()
    tuning: TuningConfig = TuningConfig()

    @pydantic.model_validator(mode="after")
    def _is_consistent(self):
        _ = self.feature_spec
        stores.refuse(self.training.warm_start or "", "training.warm_start", "copy that directory to this machine")
        _check_user_features(self)
        _check_calibration(self)
        targets = self.attribution.names
        try:
            self.model.check(self.feature_spec, targets if self.model.auxiliaries == AUTO else self.targets)
        except MalTfError as error:
            raise ValueError(str(error)) from error
        _ = self.slices
        if self.ready_made:
            _check_ready_made(self)
            return self
        for key, value in (("attribution.window_hours", self.attribution.window_hours), ("labels", self.labels)):
            if value is None:
                raise ValueError(f"{key} is missing")
        if ready := [m.name for m in self.attribution.mechanisms if m.type == READY]:
            raise ValueError(f"mechanism '{ready[0]}': adapter '{self.sources.adapter}' has no ready-made labels")
        tables = self.sources.tables()
        _check_context(self.attribution, tables.context_names)
        touchpoint = tables.clicks.columns.touchpoint
        if self.attribution.data_driven and not touchpoint:
            mechanism = self.attribution.data_driven[0].name
            raise ValueError(f"mechanism '{mechanism}' is data-driven and needs the click table's touchpoint columns")
        self.attribution.check(self.feature_spec)
        return self

    @classmethod
    def from_run(cls, directory: str) -> "RunConfig":
        """Reads the config stored in a run's directory.

        Keys that the model does not use, which earlier versions wrote, are ignored.

        Raises:
            MalTfError: the config is missing or invalid.
        """
        path = f"{directory}/config.yaml"
        data = cls.read(path)
        return cls.from_data(data | {"model": used_keys(data["model"])}, path)

    @property
    def ready_made(self) -> bool:
        """Whether labels and vocabularies come with the source."""
        return self.sources.ready_made

    @functools.cached_property
    def feature_spec(self) -> FeatureSpec:
        """The features with the size limits of their vocabularies."""
        return FeatureSpec(features=self.features, vocabulary=self.vocabulary)

    @functools.cached_property
    def slices(self) -> tuple[str, ...]:
        """Names of the slices of the evaluation."""
        return self.evaluation.resolve_slices(self.feature_spec, self.attribution.names, not self.ready_made)

    @property
    def targets(self) -> tuple[str, ...]:
        """Mechanisms that the model learns, the primary and its auxiliaries, in configured order.

        Raises:
            MalTfError: the auxiliaries are `auto`; see `with_auxiliaries`.
        """
        return self.model.targets(self.attribution.names)

    def with_auxiliaries(self, auxiliaries: Sequence[str]) -> "RunConfig":
        """Returns a copy of the config with these auxiliaries, such as those chosen for `auto`."""
        model = self.model.model_copy(update={"auxiliaries": tuple(auxiliaries)})
        return self.model_copy(update={"model": model})


def _check_user_features(config: RunConfig) -> None:
    names, user_features = [feature.name for feature in config.features], config.export.user_features
    if unknown := [name for name in user_features if name not in names]:
        raise ValueError(f"export.user_features: unknown feature '{unknown[0]}'; available: {', '.join(names)}")
    if set(user_features) == set(names):
        raise ValueError("export.user_features: expected at least one feature of the ad, found all features listed")


def _check_calibration(config: RunConfig) -> None:
    names = [feature.name for feature in config.feature_spec.categorical]
    if config.calibration and (by := config.calibration.by) is not None and by not in names:
        raise ValueError(f"calibration.by: '{by}' is not a categorical feature; available: {', '.join(names)}")


def _check_context(attribution: AttributionConfig, names: Sequence[str]) -> None:
    """Rejects windows of context touches that have no log, and `clicks_only` where there are clicks alone."""
    if unknown := [name for name in attribution.context_window_hours if name not in names]:
        raise ValueError(
            f"attribution.context_window_hours: '{unknown[0]}' is not the name of a log in sources.context; found there: "
            + (", ".join(names) or "none")
        )
    if only := [m.name for m in attribution.mechanisms if m.clicks_only and not names]:
        raise ValueError(
            f"mechanism '{only[0]}': clicks_only has no effect, as sources.context has no log; remove it or add a log"
        )


def _check_ready_made(config: RunConfig) -> None:
    """Rejects settings that have no effect when labels and vocabularies come with the source."""
    attribution, vocabulary = config.attribution, config.vocabulary
    default_attr, default_vocab = AttributionConfig(mechanisms=attribution.mechanisms), VocabularyConfig()
    unused = [
        *(
            f"attribution.{k}"
            for k in AttributionConfig.model_fields
            if getattr(attribution, k) != getattr(default_attr, k)
        ),
        *(["labels"] if config.labels else []),
        *(f"vocabulary.{k}" for k in ("min_count", "max_size") if getattr(vocabulary, k) != getattr(default_vocab, k)),
        *(f"{f.name}.{k}" for f in config.feature_spec.categorical for k in ("min_count", "max_size") if getattr(f, k)),
    ]
    adapter = config.sources.adapter
    if unused:
        raise ValueError(f"{unused[0]} has no effect with adapter '{adapter}', whose labels are ready-made; remove it")
    for mechanism in attribution.mechanisms:
        if mechanism.type != READY:
            raise ValueError(
                f"mechanism '{mechanism.name}': expected type '{READY}', found '{mechanism.type}'; adapter '{adapter}' has "
                "ready-made labels and no paths to attribute"
            )
    for feature in config.features:
        kind = (feature.type, getattr(feature, "dtype", None), getattr(feature, "events", None))
        if kind not in _READY_MADE_FEATURES:
            raise ValueError(
                f"feature '{feature.name}': adapter '{adapter}' has only categorical features of strings, histories of clicks "
                "and similarities"
            )


#: Type, dtype and events of the features that sources with ready-made labels support.
_READY_MADE_FEATURES = (("categorical", "string", None), ("history", None, "clicks"), ("similarity", "float32", None))


load = RunConfig.load


def dump(config: RunConfig) -> str:
    """Serializes a config, with all defaults, as YAML that `load` can read."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
