"""The `attribution` block of a config: the attribution mechanisms, and which clicks are eligible for a conversion."""

import operator
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic

from features.errors import MalTfError
from features.frozen import NAMES_DIFFER, NOT_EMPTY, Frozen, Hours, Path
from features.spec import FeatureSpec
from features.time_units import SECONDS_PER_HOUR
from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import JourneyRules
from mal_tf.attribution.labels import MAX_MECHANISMS
from mal_tf.attribution.mechanism import Mechanism
from mal_tf.attribution.touches import CLICK
from mal_tf.attribution.touchpoints import TouchpointConfig

#: Type of a mechanism whose labels are read from the source instead of computed.
READY = "ready"


class MechanismConfig(Frozen):
    """One attribution mechanism, which defines one label, one tower and one bit of the CAT label.

    Attributes:
        name: name of its label, `label_<name>`.
        type: name of a built-in mechanism (`first`, `last`, `linear`, `position`, `time_decay`, `shao_li`, `shapley`,
            `markov`, `attention`), or `package.module:Class` of your own. With adapter `mac` it is `ready`, and the label is
            the column `name`.
        parameters: arguments of the mechanism's class.
        window_hours: window of this mechanism; `attribution.window_hours` if absent.
        clicks_only: whether the mechanism's journeys are of clicks alone, without the touches of `sources.context`.

    Example:
        >>> import mal_tf
        >>> mal_tf.MechanismConfig(name="mta", type="shao_li", parameters={"fallback": "last"}).make()  # doctest: +ELLIPSIS
        <mal_tf.attribution.shao_li.ShaoLi object at ...>
    """

    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9_]*$")
    type: str
    parameters: dict[str, Any] = {}
    window_hours: Hours | None = None
    clicks_only: bool = pydantic.Field(False, exclude_if=operator.not_)

    @pydantic.model_validator(mode="after")
    def _makeable(self):
        if self.name == "cat":
            raise ValueError("the name 'cat' is taken by the CAT label")
        if self.type == READY:
            if self.parameters or self.window_hours or self.clicks_only:
                raise ValueError("ready-made labels take no parameters, no window and no clicks_only")
            return self
        try:
            self.make()
        except MalTfError as error:
            raise ValueError(str(error)) from error
        return self

    def make(self) -> Mechanism:
        """Creates the mechanism, without a fit."""
        return create(self.type, dict(self.parameters))


def mechanism(
    kind: str,
    /,
    name: str | None = None,
    *,
    window_hours: float | None = None,
    clicks_only: bool = False,
    **parameters: Any,
) -> MechanismConfig:
    """Configures an attribution mechanism.

    Args:
        kind: `first`, `last`, `linear`, `position`, `time_decay`, `shao_li`, `shapley`, `markov`, `attention`, a name given
            to `register`, or `package.module:Class`.
        name: name of its label, `label_<name>`; `kind` by default.
        window_hours: window of this mechanism; that of the `AttributionConfig` by default.
        clicks_only: whether the mechanism's journeys are of clicks alone, without context touches such as views.
        **parameters: arguments of the mechanism's class.

    Raises:
        pydantic.ValidationError: there is no such mechanism, or it does not take these parameters.

    Example:
        >>> import mal_tf
        >>> mal_tf.mechanism("shapley", name="mta", fallback="linear").name
        'mta'
    """
    return MechanismConfig(
        name=name or kind, type=kind, parameters=parameters, window_hours=window_hours, clicks_only=clicks_only
    )


class AttributionConfig(Frozen):
    """Which clicks are eligible for a conversion, and the mechanisms that distribute its credit among them.

    Attributes:
        window_hours: a click is eligible up to this long before the conversion. A click is mature when the longest
            window of all mechanisms has passed. Not needed for ready-made labels.
        context_window_hours: windows of the touches of `sources.context`, by their name, such as `{view: 24}`; `window_hours`
            if absent. A mechanism with a shorter window of its own has that for them too.
        simultaneous: whether a click at exactly the time of the conversion is eligible.
        reset_after_conversion: cut journeys at the last earlier conversion of the same user and match key. Conversions of one
            time, such as the lines of an order, don't cut each other's.
        mechanisms: attribution mechanisms, in the order of the CAT label's bits.
        touchpoint: how touchpoint types are derived from the click table's `touchpoint` columns.
        confounders: user features by which mechanisms that support it (`attention`) balance touchpoints.
        fit_from: output directory of an earlier label job, relative to the config, whose fits are used instead of new
            ones.

    Example:
        >>> import mal_tf
        >>> mechanisms = [mal_tf.mechanism(name) for name in ("first", "last", "linear", "shao_li")]
        >>> mal_tf.AttributionConfig(window_hours=24, mechanisms=mechanisms).names
        ('first', 'last', 'linear', 'shao_li')
    """

    window_hours: Hours | None = None
    context_window_hours: dict[str, Hours] = pydantic.Field({}, exclude_if=operator.not_)
    simultaneous: Literal["eligible", "ineligible"] = "eligible"
    reset_after_conversion: bool = False
    mechanisms: Annotated[tuple[MechanismConfig, ...], NOT_EMPTY, NAMES_DIFFER] = pydantic.Field(
        max_length=MAX_MECHANISMS
    )
    touchpoint: TouchpointConfig = TouchpointConfig()
    confounders: tuple[str, ...] = ()
    fit_from: Path | None = None

    @pydantic.field_validator("context_window_hours")
    @classmethod
    def _no_clicks(cls, hours):
        if CLICK in hours:
            raise ValueError(f"expected names of context touches, such as view; '{CLICK}' has `window_hours`")
        return hours

    @pydantic.model_validator(mode="after")
    def _context_windows_are_shorter(self):
        for name, hours in self.context_window_hours.items():
            if hours > self.longest_window_hours:
                raise ValueError(
                    f"context_window_hours: expected at most the window of clicks, {self.longest_window_hours:g}, found "
                    f"{hours:g} for '{name}'"
                )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the mechanisms, in order."""
        return tuple(m.name for m in self.mechanisms)

    @property
    def longest_window_hours(self) -> float:
        """Hours until a click is mature: the longest window of all mechanisms; 0 with ready-made labels."""
        return max(self.window_hours or 0, *(mechanism.window_hours or 0 for mechanism in self.mechanisms))

    @property
    def data_driven(self) -> tuple[MechanismConfig, ...]:
        """The mechanisms that need to be fitted."""
        return tuple(m for m in self.mechanisms if m.type != READY and m.make().data_driven)

    def check(self, spec: FeatureSpec) -> None:
        """Checks the configuration against the features.

        Raises:
            ValueError: a confounder is not a scalar feature.
        """
        scalars = [feature.name for feature in spec.scalars]
        for name in self.confounders:
            if name not in scalars:
                raise ValueError(
                    f"attribution.confounders: '{name}' is not a categorical or numeric feature; available: "
                    + (", ".join(scalars) or "none")
                )

    def mechanism_rules(self, units_per_second: int, context: Sequence[str] = ()) -> dict[str, JourneyRules]:
        """Eligibility rules of each mechanism in time units, by name, with the names of the kinds of context touch."""
        return {
            m.name: self.rules(units_per_second, m.window_hours, () if m.clicks_only else context)
            for m in self.mechanisms
        }

    def rules(
        self, units_per_second: int, window_hours: float | None = None, context: Sequence[str] = ()
    ) -> JourneyRules:
        """Eligibility rules in time units, for a mechanism's own window or the common one, and its kinds of context touch.

        Raises:
            MalTfError: neither window is given.
        """
        hours = window_hours or self.window_hours
        if hours is None:
            raise MalTfError("attribution.window_hours is missing; mechanisms that compute labels need a window")
        window, *context_windows = (
            round(one * SECONDS_PER_HOUR * units_per_second)
            for one in (hours, *(min(self.context_window_hours.get(name, hours), hours) for name in context))
        )
        return JourneyRules(
            window=window,
            simultaneous=self.simultaneous == "eligible",
            reset_after_conversion=self.reset_after_conversion,
            context=tuple(context_windows),
        )
