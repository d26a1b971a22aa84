"""The configuration of a model comparison, one YAML file."""

from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

from features.errors import MalTfError
from features.frozen import NOT_EMPTY, Frozen, Path
from mal_tf.models.config import ModelName
from pipelines.config.evaluation import INFORMATION_GAIN, PATH_LENGTH, GrowthConfig
from pipelines.config.run import RunConfig
from pipelines.core.config_file import ConfigFile

#: Name of the row that every comparison has, a model without auxiliary targets.
BASE = "base"

#: Slices that are not based on a feature.
NO_FEATURE = PATH_LENGTH, INFORMATION_GAIN

#: Current names of slices by their names in earlier versions.
_RENAMED = {"growth": INFORMATION_GAIN}


def _check_distinct(values: tuple) -> tuple:
    if duplicates := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"given twice: {', '.join(duplicates)}")
    return values


class Variant(Frozen):
    """Changes of a row to the run's `model` and `training`; other keys keep the run's values.

    Attributes:
        auxiliaries: see `ModelConfig`.
        cat: see `ModelConfig`.
        single_attribution: see `ModelConfig`.
        gradients: see `TrainingConfig`.
    """

    auxiliaries: tuple[str, ...] | Literal["auto"] | None = None
    cat: bool = True
    single_attribution: bool = False
    gradients: Literal["sum", "pcgrad", "gcs"] = "sum"


class Comparison(Frozen):
    """One table, whose rows are models × variants for each primary target; `base` is always a row.

    Attributes:
        name: name of the table.
        models: models to compare.
        primaries: primary targets, each a block of the table.
        variants: changes to the models, by the name that follows the model's in the row; when empty, only the unchanged
            models are compared.
        against: reference row of the differences: `base`, or a row such as `mal (all)`.
        slices: slices of the clicks to compare as well: `path_length` (of the positives; with all negatives),
            `information_gain` (users by their extra positives, see `GrowthConfig`), or a categorical feature's values.
    """

    name: str
    models: Annotated[tuple[ModelName, ...], NOT_EMPTY]
    primaries: Annotated[tuple[str, ...], NOT_EMPTY]
    variants: dict[str, Variant] = {}
    against: str = BASE
    slices: tuple[str, ...] = ()

    @pydantic.field_validator("models", "primaries", "slices")
    @classmethod
    def _differ(cls, names):
        return _check_distinct(names)

    @pydantic.model_validator(mode="after")
    def _check_against(self):
        if self.against not in self.rows:
            raise ValueError(f"against: unknown row '{self.against}'; available: {', '.join(self.rows)}")
        return self

    @property
    def rows(self) -> dict[str, tuple[str, Variant]]:
        """Model and variant of each row by name, `base` first."""
        variants = self.variants or {"": Variant()}
        named = {
            f"{model} ({name})" if name else model: (model, variant)
            for model in self.models
            for name, variant in variants.items()
        }
        return {BASE: (BASE, Variant())} | named


class TuningConfig(Frozen):
    """Tuning of each model's learning rate. The model, without a variant, is trained with every rate on all but the last segments
    of the training split. The rate with the best AUC on those segments, the mean over seeds, is used in all rows of the model.

    Attributes:
        learning_rates: rates of the dense parts to try; the tables' rate keeps its ratio to it in the run's config.
        primary: target whose AUC decides.
        validation_segments: number of segments (days, if `labels.segment_hours` is 24) that are held out.
        variants: whether each variant of a model has a rate of its own, tuned likewise. A variant with `auxiliaries: auto` is
            tuned with all auxiliaries.
        seeds: number of the comparison's seeds, from the first, to train with.
    """

    learning_rates: Annotated[tuple[pydantic.PositiveFloat, ...], NOT_EMPTY]
    primary: str
    validation_segments: int = pydantic.Field(1, ge=1)
    variants: bool = False
    seeds: int = pydantic.Field(1, ge=1)


class TruthConfig(Frozen):
    """The truth about each click that `mal-tf simulate` wrote.

    Attributes:
        files: glob of the market's `truth-clicks` files.
        caused: column with the number of conversions that the click caused; clicks above 0 are the positives of an
            additional AUC.
        oracles: columns of true probabilities, which are evaluated like models.
    """

    files: Path
    caused: str = "caused"
    oracles: tuple[str, ...] = ("p_caused", "p_conversion")


class Comparisons(ConfigFile):
    """Comparisons of models, whatever the labels.

    Attributes:
        name: name of the comparison; its directory is `runs/<name>` unless the command line gives another.
        overrides: overrides of the run's keys, each `key=value` as for `--set`.
        seeds: each row is trained once per seed; metrics are means over them.
        tuning: tuning of the learning rates; without it all models use the run's rates.
        comparisons: tables of the comparison.
        growth: user groups for slices of `information_gain`.
        bootstrap_samples: number of bootstrap resamples of the users, for the intervals. With B of them no p-value is below
            2 / (B + 1).
        rate_steps: number of steps over which each model's training speed is measured at the end, with nothing in
            parallel; 0 for no measurement.
    """

    overrides: tuple[str, ...] = ()
    seeds: Annotated[tuple[int, ...], NOT_EMPTY] = (1, 2, 3)
    tuning: TuningConfig | None = None
    comparisons: Annotated[tuple[Comparison, ...], NOT_EMPTY]
    growth: GrowthConfig = GrowthConfig()
    bootstrap_samples: int = pydantic.Field(2000, ge=1)
    rate_steps: int = pydantic.Field(50, ge=0)

    @pydantic.field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds):
        return _check_distinct(seeds)

    @pydantic.field_validator("comparisons")
    @classmethod
    def _names_differ(cls, comparisons):
        _check_distinct(tuple(comparison.name for comparison in comparisons))
        return comparisons

    @pydantic.model_validator(mode="after")
    def _check_tuning(self):
        if self.tuning is None:
            return self
        if self.tuning.seeds > len(self.seeds):
            raise ValueError(
                f"tuning.seeds: expected at most the {len(self.seeds)} of seeds, found {self.tuning.seeds}"
            )
        if self.tuning.variants:
            rows = [row for comparison in self.comparisons for row in comparison.rows.items()]
            for name, variant in rows:
                if variant != dict(rows)[name]:
                    raise ValueError(
                        f"tuning.variants: '{name}' is not the same in two comparisons; rename one of them"
                    )
        return self


class BenchmarkConfig(Comparisons):
    """A comparison of models on one run's labels.

    Attributes:
        run: config file of the run: sources, features, labels, sizes, training. Its `model.name`, `compare_with` and
            `primary` are not used, nor is `calibration`.
        truth: truth of a simulated market, to evaluate against as well.
    """

    run: Path
    truth: TruthConfig | None = None


def load(path: str, overrides: Sequence[str] = ()) -> tuple[BenchmarkConfig, RunConfig]:
    """Reads the config of a comparison and of its run; paths are relative to the file.

    Raises:
        MalTfError: a config is missing or invalid; the message names each key.
    """
    benchmark = BenchmarkConfig.load(path, overrides)
    return benchmark, run_config(benchmark, path)


def run_config(benchmark: BenchmarkConfig, path: str) -> RunConfig:
    """Reads the config of the run that a comparison is on.

    Args:
        benchmark: config of the comparison.
        path: its file, for messages.

    Raises:
        MalTfError: the config is missing or invalid, or lacks what a comparison names.
    """
    data = RunConfig.read(benchmark.run, benchmark.overrides)
    if isinstance(data.get("model"), dict):  # The run may set keys of any model that is compared.
        compared = [model for comparison in benchmark.comparisons for model, _ in comparison.rows.values()]
        if isinstance(others := data["model"].get("compare_with", []), list):  # Anything else is refused below.
            data["model"]["compare_with"] = [*others, *compared]
    run = RunConfig.from_data(data, benchmark.run)
    categorical = [f.name for f in run.feature_spec.categorical]
    for comparison in benchmark.comparisons:
        for name in comparison.slices:
            if name in _RENAMED and name not in categorical:
                raise MalTfError(
                    f"{path}: comparison '{comparison.name}': slice '{name}' is now called '{_RENAMED[name]}'; rename it"
                )
            if name not in (*NO_FEATURE, *categorical):
                raise MalTfError(
                    f"{path}: comparison '{comparison.name}': slice '{name}' is neither {PATH_LENGTH}, {INFORMATION_GAIN} nor a "
                    f"categorical feature; available: {', '.join(categorical)}"
                )
        if INFORMATION_GAIN in comparison.slices:
            for name in (benchmark.growth.wider, benchmark.growth.narrower):
                if name not in run.attribution.names:
                    raise MalTfError(
                        f"{path}: growth: unknown mechanism '{name}'; available: {', '.join(run.attribution.names)}"
                    )
    return run
