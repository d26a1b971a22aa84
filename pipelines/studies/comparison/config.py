"""The configuration of a comparison: one YAML file beside the run's."""

from collections.abc import Sequence
from typing import Literal

import pydantic

from features.errors import MalTfError
from features.frozen import Frozen, Path
from mal_tf.models.config import ModelName
from pipelines.config.evaluation import INFORMATION_GAIN, PATH_LENGTH, GrowthConfig
from pipelines.config.run import RunConfig
from pipelines.core.config_file import ConfigFile

#: The row that every comparison has: a model without auxiliary targets.
BASE = "base"

#: Slices that are no feature.
NO_FEATURE = PATH_LENGTH, INFORMATION_GAIN

#: What slices were called before, and are called now.
_RENAMED = {"growth": INFORMATION_GAIN}


def _all_different(values: tuple) -> tuple:
    if doubled := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"given twice: {', '.join(doubled)}")
    return values


class Variant(Frozen):
    """What a row changes in the run's `model` and `training`; what is not given stays as it is there.

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
    """One table: rows are models × variants, for each primary target; `base` is in it always.

    Attributes:
        name: of the table.
        models: which.
        primaries: primary targets; a block of the table each.
        variants: by what a row is called after its model; the models as they are when empty.
        against: the row that the others' differences are to: `base`, or a row such as `mal (all)`.
        slices: also compare parts of the clicks: `path_length` (of the positives; with all negatives),
            `information_gain` (users by their extra positives, see `GrowthConfig`), or a categorical feature's values.
    """

    name: str
    models: tuple[ModelName, ...] = pydantic.Field(min_length=1)
    primaries: tuple[str, ...] = pydantic.Field(min_length=1)
    variants: dict[str, Variant] = {}
    against: str = BASE
    slices: tuple[str, ...] = ()

    @pydantic.field_validator("models", "primaries", "slices")
    @classmethod
    def _differ(cls, names):
        return _all_different(names)

    @pydantic.model_validator(mode="after")
    def _against_a_row(self):
        if self.against not in self.rows:
            raise ValueError(f"against: no row is called '{self.against}'; rows: {', '.join(self.rows)}")
        return self

    @property
    def rows(self) -> dict[str, tuple[str, Variant]]:
        """Model and variant of each row, by the row's name; `base` first."""
        variants = self.variants or {"": Variant()}
        named = {
            f"{model} ({name})" if name else model: (model, variant)
            for model in self.models
            for name, variant in variants.items()
        }
        return {BASE: (BASE, Variant())} | named


class TuningConfig(Frozen):
    """The learning rate of each model: every rate is trained on all but the last segments of the training split, and the
    one with the best AUC on those is taken. Every model gets the same rates to try, once each, as it is without a variant;
    what it gets is used in all its rows.

    Attributes:
        learning_rates: of the dense parts; the tables' rate keeps its ratio to it in the run's config.
        primary: target whose AUC decides.
        validation_segments: how many segments (days, if `labels.segment_hours` is 24) are held out.
    """

    learning_rates: tuple[pydantic.PositiveFloat, ...] = pydantic.Field(min_length=1)
    primary: str
    validation_segments: int = pydantic.Field(1, ge=1)


class TruthConfig(Frozen):
    """What `mal-tf simulate` knows of each click.

    Attributes:
        files: glob of the market's `truth-clicks` files.
        caused: column that says how many conversions the click caused: positives of one more AUC.
        oracles: columns of true probabilities, scored like models.
    """

    files: Path
    caused: str = "caused"
    oracles: tuple[str, ...] = ("p_caused", "p_conversion")


class BenchmarkConfig(ConfigFile):
    """A comparison of models on one run's labels.

    Attributes:
        name: of the comparison; its directory is `runs/<name>` unless said otherwise on the command line.
        run: config file of the run: sources, features, labels, sizes, training. Its `model.name`, `compare_with` and
            `primary` are not used, nor is `calibration`.
        overrides: of the run's keys, as `--set` has them.
        seeds: each row is trained once per seed; metrics are means over them.
        tuning: of the learning rates; without it all models have the run's.
        comparisons: the tables.
        growth: user groups for slices of `information_gain`.
        truth: of a simulated market.
        bootstrap_samples: resamplings of users for the intervals. B of them give no p-value below 2 / (B + 1).
        rate_steps: steps over which each model's training speed is measured in the end, alone on the machine; 0 for not
            at all.
    """

    run: Path
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = pydantic.Field((1, 2, 3), min_length=1)
    tuning: TuningConfig | None = None
    comparisons: tuple[Comparison, ...] = pydantic.Field(min_length=1)
    growth: GrowthConfig = GrowthConfig()
    truth: TruthConfig | None = None
    bootstrap_samples: int = pydantic.Field(2000, ge=1)
    rate_steps: int = pydantic.Field(50, ge=0)

    @pydantic.field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds):
        return _all_different(seeds)

    @pydantic.field_validator("comparisons")
    @classmethod
    def _names_differ(cls, comparisons):
        _all_different(tuple(comparison.name for comparison in comparisons))
        return comparisons


def load(path: str, overrides: Sequence[str] = ()) -> tuple[BenchmarkConfig, RunConfig]:
    """Reads a comparison's file and the run's that it names; paths are relative to the file.

    Raises:
        MalTfError: what is wrong, with the place of each key.
    """
    found = BenchmarkConfig.load(path, overrides)
    data = RunConfig.read(found.run, found.overrides)
    if isinstance(data.get("model"), dict):  # The run may set keys of any model that is compared.
        compared = [model for comparison in found.comparisons for model, _ in comparison.rows.values()]
        if isinstance(others := data["model"].get("compare_with", []), list):  # Anything else is refused below.
            data["model"]["compare_with"] = [*others, *compared]
    run = RunConfig.from_data(data, found.run)
    categorical = [f.name for f in run.feature_spec.categorical]
    for comparison in found.comparisons:
        for name in comparison.slices:
            if name in _RENAMED and name not in categorical:
                raise MalTfError(
                    f"{path}: comparison '{comparison.name}': slice '{name}' is now called '{_RENAMED[name]}'; rename it"
                )
            if name not in (*NO_FEATURE, *categorical):
                raise MalTfError(
                    f"{path}: comparison '{comparison.name}': slice '{name}' is neither {PATH_LENGTH}, {INFORMATION_GAIN} nor a "
                    f"categorical feature; there are: {', '.join(categorical)}"
                )
        if INFORMATION_GAIN in comparison.slices:
            for name in (found.growth.wider, found.growth.narrower):
                if name not in run.attribution.names:
                    raise MalTfError(f"{path}: growth: unknown mechanism '{name}'")
    return found, run
