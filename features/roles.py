"""Roles of the columns of the click log, the conversion log and logs of context touches, as the blocks of a config."""

from typing import Annotated, ClassVar, Literal

from features.frozen import NOT_EMPTY, Frozen, Names

SomeNames = Annotated[Names, NOT_EMPTY]


class _Columns(Frozen):
    """Roles of the columns of one log.

    Attributes:
        TABLE: name of the table in counts and messages.
        ID: role that identifies an event within its user.
        TEXT: roles held as text, besides the id.
    """

    TABLE: ClassVar[str]
    ID: ClassVar[str]
    TEXT: ClassVar[tuple[str, ...]] = ("user_id", "match_key", "touchpoint")

    @property
    def text_roles(self) -> dict[str, tuple[str, ...]]:
        """Columns of the roles held as text, besides the id."""
        return {role: getattr(self, role) for role in self.TEXT}


class ClickColumns(_Columns):
    """Roles of the columns of the click log. A role may be made of several columns.

    Attributes:
        click_id: identifies a click within its user; a repeated id is the same click delivered twice.
        user_id: the user who clicked.
        user_fallback: what stands for a user without an id, such as the device. Such users are no users of ids that spell the
            same: device 7 is `fallback:7`. None by default, so that rows without a user are bad.
        timestamp: time of the click: a timestamp, a number since 1970 in `sources.time_unit`, or text of either (ISO 8601).
        match_key: what a click and a conversion must share besides the user; nothing when empty.
        touchpoint: the touchpoint type that data-driven attribution models; one type for all when empty. Null values
            make a type of their own, the empty one.
    """

    TABLE: ClassVar[str] = "clicks"
    ID: ClassVar[str] = "click_id"

    click_id: SomeNames
    user_id: SomeNames
    user_fallback: Names = ()
    timestamp: str
    match_key: Names = ()
    touchpoint: Names = ()


class ConversionColumns(_Columns):
    """Roles of the columns of the conversion log. A role may be made of several columns.

    Attributes:
        conversion_id: identifies a conversion within its user; a repeated id is the same one delivered twice.
        user_id: the user who converted, as in the click log.
        user_fallback: as in the click log.
        timestamp: time of the conversion, as in the click log.
        match_key: as in the click log, column by column.
        value: worth of the conversion, in one currency for all; 1 when absent. A conversion without a readable value
            keeps its labels and adds nothing to valued credit.
        negative_value: what a value below 0 means: `missing`, the conversion happened and its value is unknown; `keep`, it
            happened and valued credit falls by it; `refund`, the row is no conversion and is left out.
    """

    TABLE: ClassVar[str] = "conversions"
    ID: ClassVar[str] = "conversion_id"
    TEXT: ClassVar[tuple[str, ...]] = ("user_id", "match_key")

    conversion_id: SomeNames
    user_id: SomeNames
    user_fallback: Names = ()
    timestamp: str
    match_key: Names = ()
    value: str | None = None
    negative_value: Literal["missing", "keep", "refund"] = "missing"


class ContextColumns(_Columns):
    """Roles of the columns of a log of context touches, such as views: touches that take credit and get no label.

    Attributes:
        touch_id: identifies a touch within its user; a repeated id is the same touch delivered twice.
        user_id: the user, as in the click log.
        user_fallback: as in the click log.
        timestamp: time of the touch, as in the click log.
        match_key: as in the click log, column by column.
        touchpoint: the touchpoint type, as in the click log. The kind of touch is a part of the type: `(view) feed`.
    """

    TABLE: ClassVar[str] = "context"
    ID: ClassVar[str] = "touch_id"

    touch_id: SomeNames
    user_id: SomeNames
    user_fallback: Names = ()
    timestamp: str
    match_key: Names = ()
    touchpoint: Names = ()
