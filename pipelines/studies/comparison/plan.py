"""The trials of a comparison, each a training with its config and the clicks that it is evaluated on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from features.errors import MalTfError
from mal_tf.models.config import AUTO
from pipelines.config.run import RunConfig
from pipelines.studies.comparison.config import BASE, BenchmarkConfig, Comparison, Variant


@dataclasses.dataclass(frozen=True)
class Trial:
    """A training and evaluation of one model.

    Attributes:
        config: config of the run with the model, primary target, auxiliaries, learning rates and seed of the trial.
        held_out: number of segments at the end of the training split that are scored instead of the evaluation split and
            left out of training.
    """

    config: RunConfig
    held_out: int = 0

    def made_from(self, labels: str) -> list:
        """Returns what the outcome depends on, given the fingerprint of the labels."""
        parts = self.config.model_dump(mode="json", include={"seed", "features", "vocabulary", "training"})
        model, names = self.config.model, self.config.attribution.names
        targets = [AUTO] if model.auxiliaries == AUTO else self.config.targets
        views = [*targets, *model.auxiliary_views(targets)]
        return [labels, parts, model.model_dump(mode="json", exclude={"auxiliaries"}), views, names, self.held_out]

    def batches_made_from(self, labels: str) -> list:
        """Returns what the training batches depend on, given the fingerprint of the labels."""
        parts = self.config.model_dump(mode="json", include={"features", "vocabulary"})
        return [labels, parts, self.config.attribution.names, self.config.training.batch_size, self.held_out]

    def __reduce__(self):  # Generic types of the config can't be pickled.
        return _trial, (self.config.model_dump_json(), self.held_out)

    def __str__(self):
        model, target = self.config.model, self.config.model.primary
        words = [model.name, target]
        if model.auxiliaries is not None:
            aux = model.auxiliaries
            words[-1] += f" + {aux if isinstance(aux, str) else ', '.join(aux) or 'none'}"
        words += [] if getattr(model, "cat", True) else ["without CAT"]
        words += ["single attribution"] if model.single_attribution else []
        words += [] if self.config.training.gradients == "sum" else [self.config.training.gradients]
        words.append(f"rate {self.config.training.learning_rate:g}" if self.held_out else f"seed {self.config.seed}")
        return ", ".join(words)


def _trial(config: str, held_out: int) -> Trial:
    return Trial(RunConfig.model_validate_json(config), held_out)


def configured(
    run: RunConfig, model: str, primary: str, variant: Variant, seed: int, rate: float | None = None
) -> RunConfig:
    """Derives the config of a trial from the run's config.

    Args:
        run: config of the run.
        model: name of the model.
        primary: primary target of the model.
        variant: further changes.
        seed: random seed of the trial.
        rate: learning rate of the dense layers, by default the run's. That of the embedding tables is scaled with it.

    Raises:
        MalTfError: the model does not support the variant or the primary target.
    """
    changes = variant.model_dump(exclude_unset=True)
    gradients = changes.pop("gradients", run.training.gradients)
    data = run.model_dump()
    data["seed"] = seed
    if model == BASE:  # Settings that it does not use would only change the fingerprint.
        changes = {"auxiliaries": (), "cat": True, "single_attribution": False}
        gradients = "sum"
    alone = run.model.alone(model).model_dump()
    data["model"] = alone | {"primary": primary} | {key: value for key, value in changes.items() if key in alone}
    factor = 1.0 if rate is None else rate / run.training.learning_rate
    data["training"] |= {
        "gradients": gradients,
        "learning_rate": run.training.learning_rate * factor,
        "embedding_learning_rate": run.training.embedding_learning_rate * factor,
    }
    try:
        return RunConfig.model_validate(data)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise MalTfError(f"benchmark, model '{model}', primary target '{primary}': {reason}") from error


def tuning_trials(config: BenchmarkConfig, run: RunConfig) -> dict[tuple[str, float], list[Trial]]:
    """Returns the trials, one per seed, for the name of each model or row that is tuned and each learning rate; none without
    `tuning`.
    """
    tuning = config.tuning
    if tuning is None:
        return {}
    rows = {name: row for comparison in config.comparisons for name, row in comparison.rows.items()}
    if tuning.variants:
        tuned = {name: (model, _without_auto(variant, run)) for name, (model, variant) in rows.items()}
    else:
        tuned = {model: (model, Variant(auxiliaries=None)) for model, _ in rows.values()}
    return {
        (name, rate): [
            Trial(configured(run, model, tuning.primary, variant, seed, rate), tuning.validation_segments)
            for seed in config.seeds[: tuning.seeds]
        ]
        for name, (model, variant) in tuned.items()
        for rate in tuning.learning_rates
    }


def _without_auto(variant: Variant, run: RunConfig) -> Variant:
    is_set = "auxiliaries" in variant.model_fields_set
    auxiliaries = variant.auxiliaries if is_set else run.model.auxiliaries
    return variant.model_copy(update={"auxiliaries": None}) if auxiliaries == AUTO else variant


def mean_auc(results: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns the mean of `auc` of the results of trials, None if one of them has none."""
    aucs = [result["auc"] for result in results]
    return None if None in aucs else sum(aucs) / len(aucs)


def best_rates(aucs: Mapping[tuple[str, float], float | None]) -> dict[str, float]:
    """Returns the learning rate with the best AUC of each model or row, the smaller one if two are equal.

    Args:
        aucs: AUC by name and rate; None if the training diverged or the held-out clicks have one class only.

    Raises:
        MalTfError: a model has no AUC at any rate.
    """
    best: dict[str, float] = {}
    for model, rate in sorted(aucs):
        auc, best_auc = aucs[model, rate], aucs[model, best[model]] if model in best else None
        if auc is not None and (best_auc is None or auc > best_auc):
            best[model] = rate
    for model, _ in aucs:
        if model not in best:
            raise MalTfError(
                f"tuning: no learning rate gave '{model}' an AUC, because training diverged (try smaller rates) or the held-out "
                "segments have no positives (raise tuning.validation_segments)"
            )
    return best


def row_trials(
    config: BenchmarkConfig, run: RunConfig, comparison: Comparison, rates: Mapping[str, float]
) -> dict[tuple[str, str], list[Trial]]:
    """Returns the trials of a table by primary target and row, one per seed. `rates` are those of the models, or of the rows if
    variants are tuned.
    """
    by_row = config.tuning is not None and config.tuning.variants
    return {
        (primary, row): [
            Trial(configured(run, model, primary, variant, seed, rates.get(row if by_row else model)))
            for seed in config.seeds
        ]
        for primary in comparison.primaries
        for row, (model, variant) in comparison.rows.items()
    }
