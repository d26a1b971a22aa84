"""Configuration of the models to train and their targets: the primary mechanism and its auxiliaries."""

from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

from features.errors import MalTfError
from features.frozen import Frozen
from mal_tf.models import catalog

#: Target of a head that predicts the CAT class of all targets.
CAT = "cat"

ModelName = Annotated[str, pydantic.AfterValidator(catalog.check)]

#: Value of `auxiliaries` that selects them by progressive validation (`mal_tf.training.auxiliaries`).
AUTO = "auto"


def _named_or_auto(value):
    if isinstance(value, str) and value != AUTO:
        raise ValueError(f"expected a list of mechanisms or '{AUTO}', found '{value}'")
    return value


class TargetsConfig(Frozen):
    """Models and their targets.

    Attributes:
        name: the model to serve: `base`, `shared_bottom`, `mmoe`, `ple`, `home`, `mal`, `natal` or `moae`, or your own by
            import path.
        compare_with: further models to train and evaluate beside it; they share the values of the keys below.
        primary: the mechanism whose label is predicted in serving.
        auxiliaries: mechanisms to learn beside it; all others when absent. `auto` selects those that help to predict the
            primary (`mal_tf.training.auxiliaries`).
        single_attribution: ablation in which all towers learn the primary label, and there is no CAT tower.
    """

    name: ModelName = "mal"
    compare_with: tuple[ModelName, ...] = ()
    primary: str
    auxiliaries: Annotated[tuple[str, ...] | Literal["auto"] | None, pydantic.BeforeValidator(_named_or_auto)] = None
    single_attribution: bool = False

    @property
    def listed(self) -> tuple[str, ...]:
        """Auxiliaries that the config lists by name."""
        return self.auxiliaries if isinstance(self.auxiliaries, tuple) else ()

    @property
    def names(self) -> tuple[str, ...]:
        """All models to train, the served one first."""
        return tuple(dict.fromkeys((self.name, *self.compare_with)))

    @property
    def learns_cat(self) -> bool:
        """Whether the CAT class is learned."""
        return False

    def check_targets(self, mechanisms: Sequence[str]) -> None:
        """Checks that the primary and the listed auxiliaries are among the mechanisms that can be learned.

        Raises:
            MalTfError: one is not; the message names the mechanisms.
        """
        for name in (self.primary, *self.listed):
            if name not in mechanisms:
                known = ", ".join(mechanisms) or "none"
                raise MalTfError(f"model: unknown target '{name}'; mechanisms with labels: {known}")

    def targets(self, mechanisms: Sequence[str]) -> tuple[str, ...]:
        """The primary and its auxiliaries, in the order of `mechanisms`.

        Raises:
            MalTfError: a target is not among `mechanisms`, or the auxiliaries are `auto` and not selected yet.
        """
        self.check_targets(mechanisms)
        if self.auxiliaries == AUTO:
            raise MalTfError(
                "model.auxiliaries: auto: select them first (mal_tf.training.auxiliaries.choose_auxiliaries)"
            )
        learned = mechanisms if self.auxiliaries is None else (self.primary, *self.auxiliaries)
        return tuple(name for name in mechanisms if name in learned)

    def auxiliary_views(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Views that `natal` and `moae` learn beside the primary: the other `targets` in their order, then `CAT`."""
        views = tuple(name for name in targets if name != self.primary or name in self.listed)
        return (*views, CAT) if self.learns_cat else views
