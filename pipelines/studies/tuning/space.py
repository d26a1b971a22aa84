"""The values that a search tries, and the proposal of the next ones by Optuna's tree-structured Parzen estimator (TPE)."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pydantic
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from features.errors import MalTfError
from mal_tf.evaluation.metrics import HIGHER, registered_metrics
from mal_tf.models.config import AUTO
from pipelines.config.run import RunConfig
from pipelines.config.tuning import Interval, Values

optuna.logging.set_verbosity(optuna.logging.WARNING)

#: Values to try by key of the config.
Space = Mapping[str, Values]

#: Layers whose widths are tuned by default.
_LAYERS = "bottom_units", "expert_units", "tower_units"


def space(config: RunConfig) -> Space:
    """Returns the space of a config: `tuning.space`, or the default one around the config's own values.

    Raises:
        MalTfError: a key does not exist for the model, or one of its values is invalid.
    """
    chosen = config.tuning.space or _default(config)
    for key, values in chosen.items():
        for value in (values.low, values.high) if isinstance(values, Interval) else values:
            with_values(config, {key: value})
    return chosen


def _default(config: RunConfig) -> Space:
    training, model = config.training, config.model.alone(config.model.name)
    chosen: dict[str, Values] = {
        f"training.{name}": Interval(low=rate / 10, high=rate * 10, log=True)
        for name in ("learning_rate", "embedding_learning_rate")
        for rate in [getattr(training, name)]
    }
    size = training.batch_size
    chosen["training.batch_size"] = tuple(dict.fromkeys((max(size // 2, 1), size, 2 * size, 4 * size)))
    several = model.name != "base" and (model.auxiliaries == AUTO or len(config.targets) > 1)
    weights = {"auxiliary_weight": several, "cat_weight": several and model.learns_cat}
    chosen |= {f"training.{name}": Interval(low=0.03, high=3.0, log=True) for name, used in weights.items() if used}
    for name in _LAYERS:
        if units := getattr(model, name, ()):
            widths = (tuple(max(width // 2, 1) for width in units), units, tuple(2 * width for width in units))
            chosen[f"model.{name}"] = tuple(dict.fromkeys(widths))
    return chosen


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Returns the config with other values of some keys.

    Raises:
        MalTfError: a key does not exist, or the config is invalid with these values.
    """
    data = config.model_dump()
    for key, value in values.items():
        node: Any = data
        *parents, last = key.split(".")
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            raise MalTfError(f"tuning.space: the config has no key '{key}' for model '{config.model.name}'")
        node[last] = copy.deepcopy(value)
    try:
        return RunConfig.model_validate(data)
    except pydantic.ValidationError as error:
        words = ", ".join(f"{key}: {value}" for key, value in values.items())
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise MalTfError(f"tuning.space: invalid with {words}: {reason}") from error


def propose(
    chosen: Space, tried: Sequence[tuple[Mapping[str, Any], float | None]], metric: str, seed: int
) -> dict[str, Any]:
    """Proposes the values of the next trial.

    The result depends on the arguments alone, so a search that was interrupted goes on as it would have.

    Args:
        chosen: the space.
        tried: values by key of each finished trial, and its metric; None if its training diverged or its metric is undefined.
        metric: name of the registered metric, which is better when higher or lower.
        seed: seed of the draws.

    Returns:
        A value by key, numbers with three significant digits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        direction = "maximize" if registered_metrics()[metric].better == HIGHER else "minimize"
        study = optuna.create_study(sampler=sampler, direction=direction)
        distributions = {key: _distribution(values) for key, values in chosen.items()}
        for values, score in tried:
            if all(_holds(chosen[key], values[key]) for key in chosen):
                study.add_trial(
                    optuna.trial.create_trial(
                        # A pruned trial counts as worse than all complete ones.
                        state=optuna.trial.TrialState.PRUNED if score is None else optuna.trial.TrialState.COMPLETE,
                        params={key: _coded(chosen[key], values[key]) for key in chosen},
                        distributions=distributions,
                        value=score,
                    )
                )
        proposed = study.ask(distributions).params
    return {key: _decoded(chosen[key], proposed[key]) for key in chosen}


def _distribution(values: Values) -> BaseDistribution:
    """Returns the distribution of a key. Listed values are coded by their position, as Optuna takes only scalars."""
    if not isinstance(values, Interval):
        return CategoricalDistribution(range(len(values)))
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _holds(values: Values, value: Any) -> bool:
    if isinstance(values, Interval):
        return values.low <= value <= values.high
    return value in values


def _coded(values: Values, value: Any) -> Any:
    return value if isinstance(values, Interval) else values.index(value)


def _decoded(values: Values, coded: Any) -> Any:
    if not isinstance(values, Interval):
        return values[coded]
    return coded if values.whole else min(max(float(f"{coded:.3g}"), values.low), values.high)
