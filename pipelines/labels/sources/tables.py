"""Base classes of sources, and the generic adapter `tables` for files of any format."""

import abc
import functools
import operator
import os
import re
import zoneinfo
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

import pydantic

from features.errors import BadInput, MalTfError
from features.frozen import AS_TUPLE, NAMES_DIFFER, NOT_EMPTY, Frozen, Moment, Path
from features.registry import find
from features.roles import ClickColumns, ContextColumns, ConversionColumns
from features.time_units import UNITS_PER_SECOND
from mal_tf.attribution.touches import CLICK
from pipelines.core import files
from pipelines.labels.sources import lake
from pipelines.labels.sources.avro import Avro
from pipelines.labels.sources.columnar import Orc, Parquet
from pipelines.labels.sources.formats import DataFile, Format, Snapshot
from pipelines.labels.sources.text_files import Csv, JsonLines

_FORMATS: tuple[Format, ...] = (Parquet(), Csv(), JsonLines(), Avro(), Orc())
#: Formats of tables that consist of files and a log.
LAKES = ("delta", "iceberg")

#: Formats by the endings of their files' names.
EXTENSIONS = {extension: kind for kind in _FORMATS for extension in kind.extensions}


class Join(Frozen):
    """A small table whose columns are added to each row; rows without a match get nulls.

    Attributes:
        files: file of the joined table, relative to the config.
        on: column of both tables that is compared; its values must be unique in the joined table.
    """

    files: Path
    on: str


Columns = TypeVar("Columns", ClickColumns, ConversionColumns, ContextColumns)


class TableSource(Frozen, Generic[Columns]):
    r"""A table of events.

    Attributes:
        files: globs, relative to the config, of `.parquet`, `.avro`, `.orc`, `.csv`, `.tsv` or `.jsonl` files (text: or `.gz`).
            `**` stands for any number of folders, none included, and follows no links. As in Spark and Hive, wildcards match
            no name that begins with `.` or `_`, such as `_SUCCESS`, unless the glob spells that character; folders such as
            `_day=1` are matched. A folder such as `country=de` is a column of the files in it that have no such column.
        delimiter: character between the columns of CSV files; by default `,`, and a tab in `.tsv` files. Joined tables have the
            default.
        columns: columns by role. In all formats but CSV, as for any name of a column, `geo.country` is the field `country`
            of the struct `geo`, unless a column has that name.
        where: filter that keeps rows whose column has one of the values, compared as text.
        join: small tables whose columns are added.
        explode: column of lists, in any format but CSV. Each element becomes a row, with the other columns of its row. Its
            fields are columns, `items.price` or `price`, in place of those of the row that have the same name; if elements
            have no fields, the list's own name is the column. Rows without an element are counted (`empty_lists`).
        null_values: words that stand for null, beside the empty text. By default none in formats that have a null of their
            own, and in CSV `\N`, `NULL`, `null`, `None`, `NaN`, `nan`, `NaT`, `N/A`, `n/a`, `<NA>`, `<null>`,
            `(null)` and `(not set)`.
        format: `delta` or `iceberg` for a table of that kind, whose folder `files` names (docs/lakes.md); `parquet`, `avro`,
            `orc`, `csv` or `jsonl` for files whose names don't tell; or one of your own, by import path. By default the ending's.
        version: with `format: delta`, the number of the version that is read; with `iceberg`, the id of a snapshot, a branch or a
            tag. By default the newest. The label manifest states what was read (`source_tables`).
        as_of: time whose version is read, in place of `version`.
    """

    files: Annotated[tuple[Path, ...], AS_TUPLE, NOT_EMPTY]
    columns: Columns
    delimiter: str | None = pydantic.Field(None, pattern=r'^[^"\r\n\x80-\U0010ffff]$')
    where: dict[str, tuple[str, ...]] = {}
    join: tuple[Join, ...] = ()
    explode: str | None = None
    null_values: tuple[str, ...] | None = None
    format: str | None = pydantic.Field(None, exclude_if=operator.not_)
    version: int | str | None = pydantic.Field(None, exclude_if=lambda version: version is None)
    as_of: Moment | None = pydantic.Field(None, exclude_if=operator.not_)

    @pydantic.model_validator(mode="after")
    def _known_format(self):
        if self.format in LAKES:
            if len(self.files) != 1:
                raise ValueError(f"files: expected one table with format: {self.format}, found {len(self.files)}")
            if self.version is not None and self.as_of is not None:
                raise ValueError("expected version or as_of, found both; leave one out")
            if self.as_of is not None and self.as_of.tzinfo is None:
                raise ValueError(f"as_of: needs a time zone, such as {self.as_of.isoformat()}+00:00")
        elif self.version is not None or self.as_of is not None:
            raise ValueError(f"version and as_of need format: {' or '.join(LAKES)}")
        elif self.format is not None:
            _named(self.format)
        return self

    @property
    def snapshot(self) -> Snapshot | None:
        """The version that is read of a Delta or Iceberg table; None for files."""
        if self.format not in LAKES:
            return None
        return lake.snapshot(self.format, self.files[0], self.version, self.as_of)

    def resolved(self):
        """The table with the `version` that it has now, if it is one of Delta or Iceberg."""
        found = self.snapshot
        return self if found is None else self.model_copy(update={"version": found.version, "as_of": None})

    @property
    def table(self) -> str:
        """Name of the table in counts, dead letters and the label report."""
        return self.columns.TABLE

    @property
    def compared(self) -> list[str]:
        """Columns whose values `where` and `join` compare."""
        return [*self.where, *(join.on for join in self.join)]

    @pydantic.field_validator("where", mode="before")
    @classmethod
    def _texts(cls, value):
        if not isinstance(value, dict):
            return value
        as_lists = {key: list(v) if isinstance(v, list | tuple) else [v] for key, v in value.items()}
        return {
            key: tuple(str(v).lower() if isinstance(v, bool) else str(v) for v in vs) for key, vs in as_lists.items()
        }


class ContextSource(TableSource[ContextColumns]):
    """A log of context touches of one kind, such as views, or the rows of the click log that `where` keeps.

    Context touches are in journeys and take credit beside the clicks, but are no examples: they have no labels. Their
    windows are in `attribution.context_window_hours`. The keys besides `name` are those of `sources.clicks`.

    Attributes:
        name: the kind of touch.
    """

    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9_]*$")

    @property
    def table(self) -> str:
        """See base class."""
        return f"{self.columns.TABLE}_{self.name}"

    @pydantic.field_validator("name")
    @classmethod
    def _no_click(cls, name):
        if name == CLICK:
            raise ValueError(f"expected a name for the kind of context touch, such as view; '{CLICK}' are the clicks")
        return name


class SourceTables(Frozen):
    """The click and conversion tables of a source, and their time unit.

    Attributes:
        clicks: the click log.
        conversions: the conversion log.
        context: logs of context touches, such as views, that take credit beside the clicks and get no label.
        time_unit: unit of timestamps that are numbers since 1970: `s`, `ms`, `us` or `ns`. Other timestamps keep their own
            resolution: the job compares times in the finest unit that occurs, and the label report says which.
        time_zone: zone of timestamps without one, such as `Europe/Berlin`. By default UTC, unless some timestamps have a zone
            and others have none, which is an error.
    """

    clicks: TableSource[ClickColumns]
    conversions: TableSource[ConversionColumns]
    context: Annotated[tuple[ContextSource, ...], NAMES_DIFFER] = pydantic.Field((), exclude_if=operator.not_)
    time_unit: Literal["s", "ms", "us", "ns"]
    time_zone: str | None = None

    @pydantic.field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name):
        if name is not None:
            try:
                zoneinfo.ZoneInfo(name)
            except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
                raise ValueError(f"expected a time zone such as UTC or Europe/Berlin, found '{name}'") from None
        return name

    @property
    def by_table(self) -> dict[str, TableSource]:
        """All tables, by the name that counts, dead letters and the label report give them."""
        sources: list[TableSource] = [self.clicks, self.conversions, *self.context]
        return {source.table: source for source in sources}

    def resolved(self) -> "SourceTables":
        """The tables, with the versions that Delta and Iceberg tables have now."""
        context = tuple(source.resolved() for source in self.context)
        tables = {"clicks": self.clicks.resolved(), "conversions": self.conversions.resolved(), "context": context}
        return self.model_copy(update=tables)

    @property
    def snapshots(self) -> dict[str, Snapshot]:
        """The version that is read of each Delta or Iceberg table."""
        return {name: found for name, source in self.by_table.items() if (found := source.snapshot)}

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of the kinds of context touch, in configured order."""
        return tuple(source.name for source in self.context)

    @property
    def units_per_second(self) -> int:
        """Number of time units in a second."""
        return UNITS_PER_SECOND[self.time_unit]


class Source(Frozen, abc.ABC):
    """Base class of source adapters, each of which is a form of the `sources` block of a config.

    A custom adapter is a subclass, configured as `adapter: package.module:Class`; see docs/extending.md.

    Attributes:
        adapter: name of the adapter, or `package.module:Class` of a custom one.
    """

    #: Whether labels and vocabularies come with the source.
    ready_made: ClassVar[bool] = False

    adapter: str

    @abc.abstractmethod
    def tables(self) -> SourceTables:
        """Returns the tables of clicks and conversions."""


class TablesSource(SourceTables, Source):
    """Adapter `tables`, for tables of clicks and conversions that the config describes."""

    adapter: Literal["tables"]

    @pydantic.model_validator(mode="after")
    def _same_match_key(self):
        clicks = len(self.clicks.columns.match_key)
        others = {"conversions": self.conversions} | {f"context.{n}": source for n, source in enumerate(self.context)}
        for key, source in others.items():
            if (found := len(source.columns.match_key)) != clicks:
                raise ValueError(
                    f"expected as many columns in clicks.columns.match_key as in {key}.columns.match_key, found {clicks} and "
                    f"{found}"
                )
        return self

    def tables(self) -> SourceTables:
        """Returns the source itself, which has both tables."""
        return self


def file_format(path: str, source: "TableSource | None" = None) -> Format:
    """Returns the format of a file, which its table names, or else by its extension.

    Raises:
        MalTfError: the extension is unknown.
    """
    if source is not None and source.format is not None and source.format not in LAKES:
        return _named(source.format)
    found = _by_extension(path)
    if found is None:
        raise MalTfError(f"{path}: expected a file ending in {', '.join(EXTENSIONS)} (text files also with .gz)")
    return found


@functools.lru_cache(maxsize=32)
def _named(name: str) -> Format:
    """A format by its name or import path. Raises ValueError if there is none."""
    by_name = {kind.name: type(kind) for kind in _FORMATS}
    try:
        return find(name, by_name, Format, "format")()
    except MalTfError as error:
        raise ValueError(str(error)) from error


def data_files(source: TableSource) -> list[DataFile]:
    """Lists the files of events of a table, sorted by path.

    Raises:
        MalTfError: a glob matches nothing, or a Delta or Iceberg table can't be read.
        BadInput: a glob matches files of a Delta or Iceberg table, or such a table has none.
    """
    if (snapshot := source.snapshot) is not None:
        if not snapshot.files:
            raise BadInput(
                f"{snapshot.path}: expected a table with rows, found version {snapshot.version} without data files. Read another "
                "one by `version` or `as_of` in `sources`."
            )
        return list(snapshot.files)
    own = source.format is not None
    found = (_named(source.format) if source.format else _FORMATS[0]).files(source.files)
    if not own or source.format == "parquet":
        lake.refuse([file.path for file in found if own or _may_be_of_lake(file.path)])
    return found


def _may_be_of_lake(path: str) -> bool:
    return path.endswith(_FORMATS[0].extensions) or os.path.isdir(path)


def is_table(path: str) -> bool:
    """Whether a file is of a format of tables, by its extension."""
    return _by_extension(path) is not None


def _by_extension(path: str) -> Format | None:
    name = path.removesuffix(".gz")
    kinds = (kind for extension, kind in EXTENSIONS.items() if name.endswith(extension))
    return next((kind for kind in kinds if name == path or kind.text), None)


def log_order(path: str) -> tuple:
    """Sorts paths in the order in which people number them: numbers as numbers, and `a.csv` before `a-2.csv`.

    Folders and names are compared one after the other, names without their extension.
    """
    whole = path.removesuffix(".gz")
    stem = next((whole.removesuffix(extension) for extension in EXTENSIONS if whole.endswith(extension)), whole)
    parts = [re.split(r"([0-9]+)", part) for part in stem.split("/")]
    return [[int(text) if place % 2 else text for place, text in enumerate(part)] for part in parts], path


def input_files(source: TableSource) -> list[tuple[str, int]]:
    """Lists all files of a table, including joined tables, as pairs (path, bytes).

    Raises:
        BadInput: a joined file has 0 bytes, or one that is not text; a CSV or JSON Lines file of events may, and has no rows
            then.
        MalTfError: a glob matches nothing, or a file has an unknown extension.
    """
    events, joined = data_files(source), files.match(tuple(join.files for join in source.join))
    found = [(file.path, file.size) for file in events]
    for path, size in found + joined:
        kind = file_format(path, None if (path, size) in joined else source)
        if size == 0 and (not kind.text or (path, size) in joined):
            raise BadInput(
                f"{path}: expected a table, found an empty file (0 bytes). Replace it, or remove it from `sources`."
            )
    return found + joined
