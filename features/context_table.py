"""Roles of the columns of logs of context touches, such as views; `features.table` has those of clicks and conversions."""

from typing import Annotated, ClassVar

import pydantic

from features.frozen import NOT_EMPTY, Frozen, as_tuple


class ContextColumns(Frozen):
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

    touch_id: Annotated[tuple[str, ...], NOT_EMPTY]
    user_id: Annotated[tuple[str, ...], NOT_EMPTY]
    user_fallback: tuple[str, ...] = ()
    timestamp: str
    match_key: tuple[str, ...] = ()
    touchpoint: tuple[str, ...] = ()

    _single = pydantic.field_validator(
        "touch_id", "user_id", "user_fallback", "match_key", "touchpoint", mode="before"
    )(as_tuple)

    @property
    def text_roles(self) -> dict[str, tuple[str, ...]]:
        """Roles held as text, besides the id."""
        return {"user_id": self.user_id, "match_key": self.match_key, "touchpoint": self.touchpoint}
