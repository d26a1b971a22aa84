"""The run's configuration: one YAML file, frozen, unknown keys are errors."""

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
from pipelines.core.config_file import ConfigFile
from pipelines.labels.sources import SourceConfig


class ValidationConfig(Frozen):
    """Data validation by TFDV.

    Attributes:
        schema_file: reviewed schema (`schema.pbtxt`), relative to the config. Without one, the schema inferred from the
            run's training split is used, which only checks that the splits agree.
    """

    schema_file: Path | None = None


class CalibrationConfig(Frozen):
    """A map from the model's logit to the CVR that was seen; it is part of the export.

    Attributes:
        method: `isotonic` regression, or `platt`, two numbers; see `mal_tf.calibration.curve`.
        by: a categorical feature: its values get maps of their own.
        segments: how many last segments (days, if `labels.segment_hours` is 24) of the training split that have clicks
            fit the map. They do not train, as the map is to be fitted on clicks that the model has not seen.
        min_positives: values of fewer positives get the map of all clicks; a warning is given when these have fewer.
    """

    method: Method
    by: str | None = None
    segments: int = pydantic.Field(1, ge=1)
    min_positives: int = pydantic.Field(400, ge=1)


class ExportConfig(Frozen):
    """Export.

    Attributes:
        warmup_requests: how many real examples go into the TF Serving warm-up file.
        user_features: features that are the same for all ads of a request; with them the model has a signature
            `predict_candidates`, which takes and computes them once.
    """

    warmup_requests: int = pydantic.Field(10, ge=0, le=1000)
    user_features: tuple[str, ...] = ()


class RunConfig(ConfigFile):
    """Everything about a run.

    Attributes:
        name: of the run; its directory is `runs/<name>` unless said otherwise on the command line.
        seed: of everything random.
        sources: where the logs are and what their columns mean.
        features: what the model sees of a click.
        vocabulary: how vocabularies are cut.
        attribution: mechanisms and eligibility.
        labels: the label job; ready-made labels go without.
        tfrecords: the files of labelled clicks.
        validation: data validation.
        model: primary target, auxiliary targets, architecture.
        training: optimisers, batch size, loss.
        calibration: of what is exported; none by default.
        evaluation: metrics, slices, intervals; see docs/evaluation.md.
        export: the SavedModel.
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

    @pydantic.model_validator(mode="after")
    def _fits_together(self):
        _ = self.feature_spec
        _check_user_features(self)
        _check_calibration(self)
        targets = self.attribution.names
        for name in (self.model.primary, *self.model.listed):
            if name not in targets:
                raise ValueError(f"model: unknown target '{name}'; attribution.mechanisms has: {', '.join(targets)}")
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
        touchpoint = self.sources.tables().clicks.columns.touchpoint
        if self.attribution.data_driven and not touchpoint:
            needy = self.attribution.data_driven[0].name
            raise ValueError(f"mechanism '{needy}' is data-driven and needs the click table's touchpoint columns")
        scalars = [f.name for f in self.feature_spec.scalars]
        for name in self.attribution.confounders:
            if name not in scalars:
                raise ValueError(
                    f"attribution.confounders: '{name}' is no categorical or numeric feature; there are: "
                    + ", ".join(scalars)
                )
        return self

    @classmethod
    def of_run(cls, directory: str) -> "RunConfig":
        """The config that a run left in its directory, also one of a version whose models had all keys.

        Raises:
            MalTfError: what is wrong with it.
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
        """The features and their vocabularies' rules."""
        return FeatureSpec(features=self.features, vocabulary=self.vocabulary)

    @functools.cached_property
    def slices(self) -> tuple[str, ...]:
        """What evaluated clicks are sliced by."""
        return self.evaluation.chosen(self.feature_spec, self.attribution.names, not self.ready_made)

    @property
    def targets(self) -> tuple[str, ...]:
        """Mechanisms the model learns, in configured order: the primary and its auxiliaries.

        Raises:
            MalTfError: the auxiliaries are `auto`; see `resolved`.
        """
        return self.model.targets(self.attribution.names)

    def resolved(self, auxiliaries: Sequence[str]) -> "RunConfig":
        """The same with these auxiliaries, chosen where the config says `auto`."""
        model = self.model.model_copy(update={"auxiliaries": tuple(auxiliaries)})
        return self.model_copy(update={"model": model})


def _check_user_features(config: RunConfig) -> None:
    names, chosen = [feature.name for feature in config.features], config.export.user_features
    if unknown := [name for name in chosen if name not in names]:
        raise ValueError(f"export.user_features: unknown feature '{unknown[0]}'; there are: {', '.join(names)}")
    if set(chosen) == set(names):
        raise ValueError("export.user_features: all features are the user's; expected at least one of the ad")


def _check_calibration(config: RunConfig) -> None:
    known = [feature.name for feature in config.feature_spec.categorical]
    if config.calibration and (by := config.calibration.by) is not None and by not in known:
        raise ValueError(f"calibration.by: '{by}' is no categorical feature; there are: {', '.join(known)}")


def _check_ready_made(config: RunConfig) -> None:
    """Refuses what would have no effect on labels and vocabularies that come with the source."""
    attribution, vocabulary = config.attribution, config.vocabulary
    without, any_size = AttributionConfig(mechanisms=attribution.mechanisms), VocabularyConfig()
    idle = [
        *(f"attribution.{k}" for k in AttributionConfig.model_fields if getattr(attribution, k) != getattr(without, k)),
        *(["labels"] if config.labels else []),
        *(f"vocabulary.{k}" for k in ("min_count", "max_size") if getattr(vocabulary, k) != getattr(any_size, k)),
        *(f"{f.name}.{k}" for f in config.feature_spec.categorical for k in ("min_count", "max_size") if getattr(f, k)),
    ]
    adapter = config.sources.adapter
    if idle:
        raise ValueError(f"{idle[0]} has no effect with adapter '{adapter}', whose labels are ready-made; take it out")
    for mechanism in attribution.mechanisms:
        if mechanism.type != READY:
            raise ValueError(
                f"mechanism '{mechanism.name}': adapter '{adapter}' has ready-made labels and no paths to attribute; "
                f"expected type '{READY}'"
            )
    for feature in config.features:
        kind = (feature.type, getattr(feature, "dtype", None), getattr(feature, "events", None))
        if kind not in _READY_MADE:
            raise ValueError(
                f"feature '{feature.name}': adapter '{adapter}' has string tokens, histories of clicks and similarities"
            )


#: Type, dtype and events of the features that sources with ready-made labels have.
_READY_MADE = (("categorical", "string", None), ("history", None, "clicks"), ("similarity", "float32", None))


load = RunConfig.load


def dump(config: RunConfig) -> str:
    """The resolved config as YAML that `load` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
