"""The source adapter of KuaiRand (Gao et al., CIKM 2022), which reads clicks and conversions from its raw CSV files.

A row of the log is an impression of a video with the user's actions. A click is a row with `is_click`, a conversion a row with
the action `conversion`, both at the time of the row. Irregular rows are treated as follows. Exact repeats are dropped by id. If
`date` contradicts the time of a row, the time counts. Videos and users without features have nulls. Conversions without a click
stay unattributed and are counted.
"""

from typing import Annotated, Literal

from features.frozen import NOT_EMPTY, Path
from features.roles import ClickColumns, ConversionColumns
from pipelines.labels.sources.tables import Join, Source, SourceTables, TableSource


class KuaiRandSource(Source):
    """Adapter `kuairand`.

    Attributes:
        log: globs of the log CSVs.
        users: CSV of user features.
        videos: CSV of video features.
        conversion: action that counts as the conversion.
        match_key: columns that a click and a conversion must share besides the user; none by default, as the app is the only
            advertiser.
        touchpoint: columns that make the touchpoint type.
    """

    adapter: Literal["kuairand"]
    log: Annotated[tuple[Path, ...], NOT_EMPTY]
    users: Path
    videos: Path
    conversion: Literal["is_profile_enter", "is_like", "is_follow", "is_comment", "is_forward"] = "is_profile_enter"
    match_key: tuple[str, ...] = ()
    touchpoint: tuple[str, ...] = ("tab",)

    def tables(self) -> SourceTables:
        """Returns the two tables, both read from the log."""
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
