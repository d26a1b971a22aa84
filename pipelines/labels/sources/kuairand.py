"""KuaiRand (Gao et al., CIKM 2022): its raw CSVs as click and conversion tables.

One row of the log is an impression of a video with what the user did; a click is a row with `is_click`, a conversion a
row in which the user did `conversion`, both at the row's own time. What is dirty there and what becomes of it: exact
repeats are dropped by id; rows whose `date` is not the day of their time are taken at their time; videos and users
without features keep nulls; conversions without a click stay unattributed and are counted.
"""

from typing import Literal

import pydantic

from features.frozen import Path
from features.table import ClickColumns, ConversionColumns
from pipelines.labels.sources.tables import Join, Source, SourceTables, TableSource


class KuaiRandSource(Source):
    """Adapter `kuairand`.

    Attributes:
        log: globs of the log CSVs.
        users: CSV of user features.
        videos: CSV of video features.
        conversion: which action counts as the conversion.
        match_key: columns a click and a conversion must share besides the user; none: one advertiser, the app.
        touchpoint: columns that make the touchpoint type.
    """

    adapter: Literal["kuairand"]
    log: tuple[Path, ...] = pydantic.Field(min_length=1)
    users: Path
    videos: Path
    conversion: Literal["is_profile_enter", "is_like", "is_follow", "is_comment", "is_forward"] = "is_profile_enter"
    match_key: tuple[str, ...] = ()
    touchpoint: tuple[str, ...] = ("tab",)

    def tables(self) -> SourceTables:
        """The two tables, both read from the log."""
        row = ("user_id", "video_id", "time_ms")
        join = (Join(files=self.users, on="user_id"), Join(files=self.videos, on="video_id"))
        return SourceTables(
            clicks=TableSource[ClickColumns](
                files=self.log,
                where={"is_click": 1},
                join=join,
                columns=ClickColumns(
                    click_id=row,
                    user_id="user_id",
                    timestamp="time_ms",
                    match_key=self.match_key,
                    touchpoint=self.touchpoint,
                ),
            ),
            conversions=TableSource[ConversionColumns](
                files=self.log,
                where={self.conversion: 1},
                join=join,
                columns=ConversionColumns(
                    conversion_id=row, user_id="user_id", timestamp="time_ms", match_key=self.match_key
                ),
            ),
            time_unit="ms",
        )
