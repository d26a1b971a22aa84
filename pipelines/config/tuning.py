"""Configuration of a search for better hyperparameters (`mal-tf tune`)."""

from typing import Annotated, Any, Literal

import pydantic

from features.frozen import NOT_EMPTY, Frozen


class Interval(Frozen):
    """Numbers from `low` to `high`, both included: whole numbers if both ends are written as such.

    Attributes:
        low: smallest value to try.
        high: largest value to try.
        log: whether the logarithm is drawn uniformly, as is usual for learning rates and weights.
    """

    low: int | float
    high: int | float
    log: bool = False

    @pydantic.model_validator(mode="after")
    def _is_interval(self):
        if not self.low < self.high:
            raise ValueError(f"expected low below high, found {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log: expected low above 0, found {self.low:g}")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)


#: Values to try for a key: an interval of numbers, or a list of any values.
Values = Interval | Annotated[tuple[Any, ...], NOT_EMPTY]


class TuningConfig(Frozen):
    """The search of `mal-tf tune`; other commands don't use it. Models are trained on all but the last segments of the training
    split and judged on those segments. The evaluation split is never looked at.

    Attributes:
        trials: number of trainings, of which the first has the config's own values.
        metric: metric of the primary target's predictions that decides, `auc` or `log_loss`.
        validation_segments: number of segments with clicks (days, if `labels.segment_hours` is 24) at the end of the training
            split that are held out.
        space: values to try, by key of the config, such as `training.learning_rate: {low: 0.0003, high: 0.01, log: true}` or
            `model.tower_units: [[64, 32], [128, 64]]`; keys of `training` and `model` only. By default both learning rates, the
            batch size, the weights of the auxiliary targets' losses and the widths of the towers and of the layers below them.
    """

    trials: int = pydantic.Field(30, ge=1)
    metric: Literal["auc", "log_loss"] = "auc"
    validation_segments: int = pydantic.Field(1, ge=1)
    space: dict[str, Values] | None = None

    @pydantic.field_validator("space")
    @classmethod
    def _keys_can_be_tuned(cls, space):
        for key in space or {}:
            if key.partition(".")[0] not in ("training", "model") or "." not in key or key in _FIXED:
                raise ValueError(
                    f"'{key}' can't be tuned: expected a key of training or model other than {', '.join(_FIXED)}"
                )
        if space is not None and not space:
            raise ValueError("expected at least one key; leave it out for the default space")
        return space


#: Keys that decide what is compared, or have no effect on a single training.
_FIXED = (
    "model.name",
    "model.compare_with",
    "model.primary",
    "training.warm_start",
    "training.checkpoint",
    "training.corrupt_records",
)
