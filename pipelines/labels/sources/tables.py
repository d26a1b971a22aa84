"""The generic source: tables in Parquet, CSV or JSON Lines files, filtered and joined with small tables."""

import abc
from typing import ClassVar, Generic, Literal, TypeVar

import pydantic

from features.errors import BadInput, MalTfError
from features.frozen import Frozen, Path, as_tuple
from features.table import ClickColumns, ConversionColumns
from pipelines.core import files

UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}

_EXTENSIONS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl"}


class Join(Frozen):
    """A small table whose columns are added to each row; rows without a match get nulls.

    Attributes:
        files: the table's file; relative to the config.
        on: the column both tables share, unique in this one.
    """

    files: Path
    on: str


Columns = TypeVar("Columns", ClickColumns, ConversionColumns)


class TableSource(Frozen, Generic[Columns]):
    """One table of events.

    Attributes:
        files: globs, relative to the config; `.parquet`, `.csv`, `.jsonl`, the last two also with `.gz`.
        columns: which column plays which role.
        where: keep rows whose column has one of the values (compared as text); other rows are none of ours.
        join: small tables to take further columns from.
        explode: for JSON Lines, a column of lists of objects; each becomes a row, beside the line's other columns.
    """

    files: tuple[Path, ...] = pydantic.Field(min_length=1)
    columns: Columns
    where: dict[str, tuple[str, ...]] = {}
    join: tuple[Join, ...] = ()
    explode: str | None = None

    _single = pydantic.field_validator("files", mode="before")(as_tuple)

    @pydantic.field_validator("where", mode="before")
    @classmethod
    def _texts(cls, value):
        if not isinstance(value, dict):
            return value
        as_lists = {key: list(v) if isinstance(v, list | tuple) else [v] for key, v in value.items()}
        return {
            key: tuple(str(v).lower() if isinstance(v, bool) else str(v) for v in vs) for key, vs in as_lists.items()
        }


class SourceTables(Frozen):
    """What every adapter comes down to: the two tables and their time unit.

    Attributes:
        clicks: the click log.
        conversions: the conversion log.
        time_unit: of timestamps that are whole numbers since 1970: `s`, `ms` or `us`.
    """

    clicks: TableSource[ClickColumns]
    conversions: TableSource[ConversionColumns]
    time_unit: Literal["s", "ms", "us"]

    @property
    def units_per_second(self) -> int:
        """Time units in a second."""
        return UNITS_PER_SECOND[self.time_unit]


class Source(Frozen, abc.ABC):
    """The `sources` block of a config: where an adapter finds the two tables.

    A source of your own is a subclass, given as `adapter: package.module:Class`; see docs/extending.md.

    Attributes:
        adapter: what kind it is; your own as `package.module:Class`.
    """

    #: Whether labels and vocabularies come with the source.
    ready_made: ClassVar[bool] = False

    adapter: str

    @abc.abstractmethod
    def tables(self) -> SourceTables:
        """The two tables."""


class TablesSource(SourceTables, Source):
    """Adapter `tables`: the two tables as the config describes them."""

    adapter: Literal["tables"]

    @pydantic.model_validator(mode="after")
    def _same_match_key(self):
        clicks, conversions = (len(t.columns.match_key) for t in (self.clicks, self.conversions))
        if clicks != conversions:
            raise ValueError(
                f"clicks.columns.match_key has {clicks} columns and conversions.columns.match_key {conversions}; "
                "they are compared part for part, so both need as many"
            )
        return self

    def tables(self) -> SourceTables:
        """The two tables."""
        return self


def file_format(path: str) -> str:
    """`parquet`, `csv` or `jsonl`, by the name's ending.

    Raises:
        MalTfError: another ending.
    """
    name = path.removesuffix(".gz")
    for extension, kind in _EXTENSIONS.items():
        if name.endswith(extension):
            return kind
    raise MalTfError(f"{path}: expected a file ending in {', '.join(_EXTENSIONS)} (the text ones also in .gz)")


def input_files(source: TableSource) -> list[tuple[str, int]]:
    """All files of a table, joined ones included: (path, bytes).

    Raises:
        BadInput: a file is empty.
        MalTfError: a glob matches nothing, a file is of an unknown ending.
    """
    entries = files.match(source.files) + files.match(tuple(join.files for join in source.join))
    for path, size in entries:
        file_format(path)
        if size == 0:
            raise BadInput(f"{path} is empty (0 bytes): expected a table. Fetch it again, or take it out of `sources`.")
    return entries
