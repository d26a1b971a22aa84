"""Columns of nested data: fields of structs by dotted names, and rows made of the elements of a list (`explode`)."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BadInput
from features.raw_columns import as_text

#: Names of a field, of the field in it, and so on.
Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a column may be found.

    Attributes:
        path: fields of the row, or of the element; none for the element itself.
        of_element: whether it is in the element of the list that the row is made of.
    """

    path: Path
    of_element: bool = False


@dataclasses.dataclass(frozen=True)
class Exploded:
    """Which row of a table each exploded row is made of.

    Attributes:
        elements: the elements of the lists.
        owners: int64 [elements], position of each element's list.
        empty: number of rows whose list is null or has no element.
    """

    elements: pa.Array
    owners: np.ndarray
    empty: int

    @classmethod
    def of(cls, lists: pa.Array) -> "Exploded":
        """Explodes lists."""
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
        owners = np.repeat(np.arange(lengths.size), lengths)
        return cls(lists.flatten(), owners, int((lengths == 0).sum()))


class Layout:
    """The columns of a Parquet or CSV file, by name.

    Args:
        schema: of the file.
        explode: name of the list whose elements are rows.
        source: the file, for messages.

    Raises:
        BadInput: `explode` names no list, or two columns.
    """

    def __init__(self, schema: pa.Schema, explode: str | None, source: str):
        self._fields, self._explode, self._source, self.list = list(schema), explode, source, None
        self._element: pa.DataType = pa.null()
        if explode is not None:
            self.list = _find(self._fields, explode)
            if self.list is None:
                raise BadInput(
                    f"{source}: column '{explode}' of `explode` is missing; found columns: {', '.join(self.names())}"
                )
            self._check_single(explode, Place(self.list))
            kind = _kind(self._fields, self.list)
            if not is_list(kind):
                raise BadInput(
                    f"{source}: column '{explode}': expected a list to explode, found {kind}. Name a column of lists, or remove "
                    "`explode`."
                )
            self._element = kind.value_type

    def places(self, name: str) -> list[Place]:
        """The places of a column; where one is null, the next one counts. Empty if there is no such column.

        Raises:
            BadInput: the file has two columns of the name.
        """
        found = []
        for of_element, inner in spellings(name, self._explode):
            fields = _children(self._element) if of_element else self._fields
            path = _find(fields, inner) if inner else ()
            if path is not None and Place(path, of_element) not in found:
                self._check_single(name, Place(path, of_element))
                found.append(Place(path, of_element))
        return found

    def _check_single(self, name: str, place: Place) -> None:
        """Raises BadInput if another column has the name too."""
        fields = _children(self._element) if place.of_element else self._fields
        for part in place.path:
            alike = [field for field in fields if field.name == part]
            if len(alike) > 1:
                raise twice(self._source, name)
            fields = _children(alike[0].type)

    def kind(self, place: Place) -> pa.DataType:
        """Type of the values at a place."""
        if not place.path:
            return self._element
        return _kind(_children(self._element) if place.of_element else self._fields, place.path)

    def leaves(self, place: Place) -> range:
        """Positions of the Parquet columns that hold the values at a place."""
        path = (*(self.list or ()), *place.path) if place.of_element else place.path
        fields, begin, kind = self._fields, 0, pa.null()
        for name in path:
            for field in fields:
                if field.name == name:
                    break
                begin += _leaves(field.type)
            kind = field.type
            fields = _children(kind.value_type if is_list(kind) else kind)
        return range(begin, begin + _leaves(kind))

    def names(self) -> list[str]:
        """Names of the columns, with those of fields after the struct's."""
        element = [f"{self._explode}.{name}" for name in _names(_children(self._element))]
        return list(dict.fromkeys([*_names(self._fields), *element, *_names(_children(self._element))]))

    def exploded(self, rows: Mapping[str, pa.Array]) -> Exploded | None:
        """The exploded rows of some columns of the file; None if nothing is exploded."""
        return None if self.list is None else Exploded.of(walk(rows, self.list))


def twice(source: str, name: str) -> BadInput:
    """The error for two columns of one name."""
    return BadInput(f"{source}: column '{name}' occurs more than once. Rename or remove all but one of them.")


def parts(owners: np.ndarray, most: int) -> Iterator[slice]:
    """Cuts rows into parts of about `most`, at least one, in which the rows of one owner stay together.

    Args:
        owners: int64 [rows], ascending.
        most: number of rows.
    """
    begin, size = 0, owners.size
    while begin < size:
        end = begin + most
        if end < size:
            first, last = (int(np.searchsorted(owners, owners[end], side)) for side in ("left", "right"))
            end = first if first > begin else last
        yield slice(begin, min(end, size))
        begin = end
    if not size:
        yield slice(0, 0)


def spellings(name: str, explode: str | None) -> list[tuple[bool, str]]:
    """Where to look for a column: whether in the element of the list to explode, and by which name, empty for the element."""
    if explode is None:
        return [(False, name)]
    if name == explode:
        return [(True, "")]
    within = [name.removeprefix(f"{explode}.")] if name.startswith(f"{explode}.") else []
    return [*((True, inner) for inner in (*within, name)), (False, name)]


def walk(columns: Mapping[str, pa.Array], path: Path) -> pa.Array:
    """The values of a field, null where a struct around it is. Raises KeyError if there is no such field."""
    column = columns[path[0]]
    for name in path[1:]:
        column = column.storage if isinstance(column, pa.ExtensionArray) else column
        if not pa.types.is_struct(column.type) or column.type.get_field_index(name) < 0:
            raise KeyError(name)
        column = column.flatten()[column.type.get_field_index(name)]
    return column


def values(places: Iterable[Place], rows: Mapping[str, pa.Array], exploded: Exploded | None, part: slice) -> pa.Array:
    """The first value that is not null among some places, of each row of a table, or of a part of its exploded rows."""
    found = []
    for place in places:
        if place.of_element and exploded is not None:
            element = exploded.elements.slice(part.start, part.stop - part.start)
            found.append(walk({"": element}, ("", *place.path)))
        else:
            column = walk(rows, place.path)
            found.append(column if exploded is None else column.take(pa.array(exploded.owners[part])))
    if len({column.type for column in found}) > 1:
        if any(map(pa.types.is_nested, (column.type for column in found))):
            return found[0]
        found = [as_text(column, "") for column in found]
    return found[0] if len(found) == 1 else pc.coalesce(*found)


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def fields_of(leaves: Iterable[tuple[Path, pa.DataType]]) -> list[pa.Field]:
    """Fields, with structs around them, that have the given types at the given paths, none of which goes through another."""
    types: dict[str, pa.DataType] = {}
    inner: dict[str, dict[Path, pa.DataType]] = {}
    for path, kind in leaves:
        if len(path) == 1:
            types[path[0]] = kind
        else:
            inner.setdefault(path[0], {})[path[1:]] = kind
    types |= {name: pa.struct(fields_of(of.items())) for name, of in inner.items()}
    return [pa.field(name, kind) for name, kind in types.items()]


def _find(fields: Iterable[pa.Field], name: str) -> Path | None:
    """The path of a field: that of the name as it stands, or else of a field in the one with the longest name."""
    by_name = {field.name: field.type for field in fields}
    if name in by_name:
        return (name,)
    for outer in sorted(by_name, key=len, reverse=True):
        if name.startswith(f"{outer}.") and (inner := _find(_children(by_name[outer]), name[len(outer) + 1 :])):
            return (outer, *inner)
    return None


def _kind(fields: Iterable[pa.Field], path: Path) -> pa.DataType:
    kind = next(field.type for field in fields if field.name == path[0])
    return _kind(_children(kind), path[1:]) if path[1:] else kind


def _children(kind: pa.DataType) -> list[pa.Field]:
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return list(kind) if pa.types.is_struct(kind) else []


def _leaves(kind: pa.DataType) -> int:
    """Number of Parquet columns of a type."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if pa.types.is_struct(kind):
        return sum(_leaves(field.type) for field in kind)
    if pa.types.is_map(kind):
        return _leaves(kind.key_type) + _leaves(kind.item_type)
    inner = getattr(kind, "value_type", None)  # Also of lists that are no `is_list`.
    return 1 if inner is None else _leaves(inner)


def _names(fields: Iterable[pa.Field]) -> list[str]:
    return [
        name
        for field in fields
        for name in (field.name, *(f"{field.name}.{inner}" for inner in _names(_children(field.type))))
    ]
