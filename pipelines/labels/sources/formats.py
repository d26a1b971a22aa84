"""The interface of a format of logs, and what is read through it."""

import abc
import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, ClassVar

import numpy as np
import pyarrow as pa

from pipelines.core import files
from pipelines.labels.sources import nested


@dataclasses.dataclass(frozen=True, eq=False)
class DataFile:
    """A file of a log.

    Attributes:
        path: its path.
        size: in bytes.
        schema: of a Delta or Iceberg table, the columns of the table, of which a file may lack some; with the `id` of Iceberg.
        constants: columns that have one value in all rows of the file, and may be missing in it.
        deleted: int64, positions of the rows that the table has no more.
    """

    path: str
    size: int
    schema: pa.Schema | None = None
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    deleted: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """A version of a Delta or Iceberg table.

    Attributes:
        format: `delta` or `iceberg`.
        path: the table.
        version: number of the version, or id of the snapshot.
        stamp: what tells it from all other versions of all tables.
        schema: columns of the table.
        files: its data files.
    """

    format: str
    path: str
    version: int
    stamp: tuple
    schema: pa.Schema
    files: tuple[DataFile, ...]


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a file that can be read on its own, such as a row group of a Parquet file, or a whole file.

    Attributes:
        path: path of the file.
        part: which part, one of `Format.parts`.
        of: the file as its table describes it.
    """

    path: str
    part: int | None = None
    of: DataFile | None = None


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """A batch of rows of a file.

    Attributes:
        rows: raw columns of n rows.
        numbers: int64 [n], number of each row in the file, from 1 for the first after the header; in JSON Lines, that of the
            line.
        malformed: (number, reason, text) of each row that could not be parsed.
        seen: the file's columns; of JSON Lines, those that a line of the batch has.
        empty: number of rows of the file that have no element to explode.
        unusable: bool [n], mask of the cells that can't be read, and are null, by (column, reason).
    """

    rows: pa.RecordBatch
    numbers: np.ndarray
    malformed: list[tuple[int, str, str]]
    seen: frozenset[str] = frozenset()
    empty: int = 0
    unusable: Mapping[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)

    def filter(self, keep: np.ndarray) -> "RawBatch":
        """The rows that a mask keeps."""
        unusable = {cell: mask[keep] for cell, mask in self.unusable.items()}
        rows = self.rows.filter(pa.array(keep))
        return dataclasses.replace(self, rows=rows, numbers=self.numbers[keep], unusable=unusable)


@dataclasses.dataclass(frozen=True)
class Cells:
    """What the cells of some columns may be.

    Attributes:
        lists: columns of lists. JSON Lines tell them by this, for they are read as text or lists of text.
        numbers: columns that are rounded to floats anyway, for which JSON Lines need not be read as text.
        optional: columns whose cells may be missing. In others, a cell that can't be read makes the row malformed.
    """

    lists: Collection[str] = ()
    numbers: Collection[str] = ()
    optional: Collection[str] = ()


#: Of columns that are no lists and have to be there.
ANY_CELLS = Cells()


@dataclasses.dataclass(frozen=True)
class Request:
    """What is wanted of a piece, and how much at a time.

    Attributes:
        columns: names of the columns, with dots for fields of structs.
        cells: what the cells of some columns may be.
        explode: column of lists whose elements become rows.
        delimiter: between the columns of CSV.
        null_values: words for null in CSV.
        rows: most rows of a batch.
        bytes: bytes of text that are read at a time.
        small: whether the caller has little memory to spare.
    """

    columns: Sequence[str]
    cells: Cells = ANY_CELLS
    explode: str | None = None
    delimiter: str = ","
    null_values: Sequence[str] = ("",)
    rows: int = 65_536
    bytes: int = 16 << 20
    small: bool = False


class Format(abc.ABC):
    """A format of files. Files are opened, and unzipped if their name ends in `.gz`, by the caller, on any filesystem."""

    #: Name in the config's `format` and in messages.
    name: ClassVar[str] = ""
    #: Endings of the names of files.
    extensions: ClassVar[tuple[str, ...]] = ()
    #: Whether files are text, which may be gzipped, and empty.
    text: ClassVar[bool] = False
    #: Whether a row may lack columns that others have.
    sparse: ClassVar[bool] = False
    #: Words that stand for null unless the config names others; None where `read` ignores `null_values`.
    null_words: ClassVar[tuple[str, ...] | None] = None
    #: What reading a damaged file may raise beside the errors of pyarrow, files, gzip and text.
    errors: ClassVar[tuple[type[Exception], ...]] = ()

    def files(self, patterns: tuple[str, ...]) -> list[DataFile]:
        """The files that `files` of a table in the config names, by default as globs."""
        return [DataFile(path, size) for path, size in files.match(patterns)]

    def parts(self, file: IO[bytes]) -> Iterable[int | None]:
        """The parts of a file that can be read in parallel; None for a whole file."""
        return [None]

    @abc.abstractmethod
    def schema(self, file: IO[bytes], delimiter: str = ",") -> pa.Schema:
        """Columns of a file; none if it does not tell them before its rows."""

    @abc.abstractmethod
    def read(self, file: IO[bytes], piece: Piece, request: Request) -> Iterator[RawBatch]:
        """Yields the rows of a piece, without the columns that the file lacks."""

    @abc.abstractmethod
    def has_rows(self, file: IO[bytes]) -> bool:
        """Whether a file has anything but its header."""

    def beyond(self, path: str, error: BaseException) -> str:
        """Says what in a valid file the library can't read, given its error; empty if the file is damaged."""
        return ""


class TypedFormat(Format):
    """A format whose files have a schema. A subclass yields its columns; fields of structs and `explode` come by themselves."""

    @abc.abstractmethod
    def batches(
        self, file: IO[bytes], part: int | None, columns: Sequence[str], request: Request
    ) -> Iterator[pa.RecordBatch]:
        """Yields the rows of a part in order, with all or some of the columns of `schema` but at least those given.

        Args:
            file: the file.
            part: one of `parts`.
            columns: names of whole columns, without dots.
            request: how many rows are wanted at a time.
        """

    def first_row(self, file: IO[bytes], part: int | None) -> int:
        """Number of rows of the file before a part."""
        return 0

    def has_rows(self, file: IO[bytes]) -> bool:
        """See base class."""
        names = self.schema(file).names
        request = Request(names[:1], rows=1)
        for part in self.parts(file):
            file.seek(0)
            if any(batch.num_rows for batch in self.batches(file, part, names[:1], request)):
                return True
        return False

    def read(self, file: IO[bytes], piece: Piece, request: Request) -> Iterator[RawBatch]:
        """See base class."""
        schema = self.schema(file)
        wanted = Wanted(nested.Layout(schema, request.explode, piece.path), request)
        file.seek(0)
        start = self.first_row(file, piece.part)
        file.seek(0)
        for batch in self.batches(file, piece.part, wanted.fields or schema.names[:1], request):
            yield from wanted.rows(batch, start)
            start += batch.num_rows


class Wanted:
    """The columns of a request in files of one layout.

    Attributes:
        places: where each column is that the files have.
        fields: names of the whole columns that hold them.
    """

    def __init__(self, layout: nested.Layout, request: Request):
        self._layout, self._size = layout, request.rows
        self.places = {name: found for name in request.columns if (found := layout.places(name))}
        self._seen = frozenset([*self.places, *([] if request.explode is None else [request.explode])])
        tops = [place.path[0] for of in self.places.values() for place in of if not place.of_element]
        self.fields = list(dict.fromkeys([*tops, *(layout.list or ())[:1]]))

    def rows(
        self, batch: pa.RecordBatch, start: int, convert: Mapping[str, Callable[[pa.Array], pa.Array]] = {}
    ) -> Iterator[RawBatch]:
        """The wanted columns of a batch of the files' rows, exploded.

        Args:
            batch: rows of a file.
            start: number of rows before them.
            convert: functions for the values of some columns.
        """
        if not batch.num_rows:  # Types and columns may be others.
            return
        numbers = np.arange(start, start + batch.num_rows) + 1
        fields = dict(zip(batch.schema.names, batch.columns, strict=True))
        exploded = self._layout.exploded(fields)
        for part in [slice(0, batch.num_rows)] if exploded is None else nested.parts(exploded.owners, self._size):
            values = {name: nested.values(of, fields, exploded, part) for name, of in self.places.items()}
            values |= {name: function(values[name]) for name, function in convert.items()}
            rows = pa.RecordBatch.from_arrays(list(values.values()), list(values))
            of = part if exploded is None else exploded.owners[part]
            yield RawBatch(rows, numbers[of], [], self._seen, exploded.empty if exploded and not part.start else 0)
