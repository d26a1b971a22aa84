"""A source: the shop's one event log, whose rows say by `kind` whether they are a click or a purchase."""

from features.frozen import Path
from features.roles import ClickColumns, ConversionColumns
from pipelines.labels.sources import Source, SourceTables, TableSource


class EventLog(Source):
    """Events of all kinds in the same files.

    Attributes:
        files: globs of the files, relative to the config.
    """

    files: tuple[Path, ...]

    def tables(self) -> SourceTables:
        """See base class."""
        roles = {"user_id": "user", "timestamp": "ts", "match_key": "shop"}
        clicks = ClickColumns(click_id="id", touchpoint="place", **roles)
        conversions = ConversionColumns(conversion_id="id", **roles)
        return SourceTables(
            clicks=TableSource[ClickColumns](files=self.files, columns=clicks, where={"kind": "click"}),
            conversions=TableSource[ConversionColumns](
                files=self.files, columns=conversions, where={"kind": "purchase"}
            ),
            time_unit="s",
        )
