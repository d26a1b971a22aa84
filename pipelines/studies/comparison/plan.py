"""What has to be trained for a comparison: trials, each a run's config and what it is judged on."""

import dataclasses
from collections.abc import Mapping

import pydantic

from features.errors import MalTfError
from mal_tf.models.config import AUTO
from pipelines.config.run import RunConfig
from pipelines.studies.comparison.config import BASE, BenchmarkConfig, Comparison, Variant


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        config: of the run, with the trial's model, primary target, auxiliaries, rates and seed.
        held_out: so many last segments of the training split are scored instead of the evaluation split, and not
            trained on.
    """

    config: RunConfig
    held_out: int = 0

    def made_from(self, labels: str) -> list:
        """What its outcome depends on, given the fingerprint of the labels."""
        kept = self.config.model_dump(mode="json", include={"seed", "features", "vocabulary", "training"})
        model, names = self.config.model, self.config.attribution.names
        targets = [AUTO] if model.auxiliaries == AUTO else self.config.targets
        views = [*targets, *model.auxiliary_views(targets)]
        return [labels, kept, model.model_dump(mode="json", exclude={"auxiliaries"}), views, names, self.held_out]

    def batches_made_from(self, labels: str) -> list:
        """What the batches that it trains on depend on, given the fingerprint of the labels."""
        kept = self.config.model_dump(mode="json", include={"features", "vocabulary"})
        return [labels, kept, self.config.attribution.names, self.config.training.batch_size, self.held_out]

    def __reduce__(self):  # The config's generic types can't be pickled.
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
    """The run's config as a trial has it.

    Args:
        run: what the trial begins with.
        model: name of the model.
        primary: its primary target.
        variant: what else changes.
        seed: of the trial.
        rate: learning rate of the dense parts; the run's when absent. The tables' keeps its ratio to it.

    Raises:
        MalTfError: the model can't be had in that variant with that primary target.
    """
    changes = variant.model_dump(exclude_unset=True)
    gradients = changes.pop("gradients", run.training.gradients)
    data = run.model_dump()
    data["seed"] = seed
    if model == BASE:  # Its outcome does not depend on what it does not use.
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


def tuning_trials(config: BenchmarkConfig, run: RunConfig) -> dict[tuple[str, float], Trial]:
    """A trial per model and learning rate."""
    tuning = config.tuning
    if tuning is None:
        return {}
    models = dict.fromkeys(model for comparison in config.comparisons for model, _ in comparison.rows.values())
    return {
        (model, rate): Trial(
            configured(run, model, tuning.primary, Variant(auxiliaries=None), config.seeds[0], rate),
            tuning.validation_segments,
        )
        for model in models
        for rate in tuning.learning_rates
    }


def best_rates(aucs: Mapping[tuple[str, float], float | None]) -> dict[str, float]:
    """Learning rate of each model: of the best AUC, the smaller one where two are equal.

    Args:
        aucs: by model and rate; none where the training diverged or what was held out has one class only.

    Raises:
        MalTfError: a model has no AUC at all.
    """
    best: dict[str, float] = {}
    for model, rate in sorted(aucs):
        auc, least = aucs[model, rate], aucs[model, best[model]] if model in best else None
        if auc is not None and (least is None or auc > least):
            best[model] = rate
    for model, _ in aucs:
        if model not in best:
            raise MalTfError(
                f"tuning: no learning rate gave '{model}' an AUC: it diverged at each (try smaller ones), or the held-out "
                "segments have no positives (raise tuning.validation_segments)"
            )
    return best


def row_trials(
    config: BenchmarkConfig, run: RunConfig, comparison: Comparison, rates: Mapping[str, float]
) -> dict[tuple[str, str], list[Trial]]:
    """The trials of a table by primary target and row, one per seed."""
    return {
        (primary, row): [
            Trial(configured(run, model, primary, variant, seed, rates.get(model))) for seed in config.seeds
        ]
        for primary in comparison.primaries
        for row, (model, variant) in comparison.rows.items()
    }
