"""Delta and Iceberg tables: which data files and rows belong to a version.

The packages deltalake and pyiceberg read the tables' logs only. Data files are read as other Parquet is, a row group at a time.
"""

import contextlib
import datetime
import functools
import importlib
import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import BadInput, MalTfError
from pipelines.core import files
from pipelines.labels.sources.formats import DataFile, Snapshot

#: Types of columns by their names in Delta and in Iceberg.
_TYPES = {
    "string": pa.string(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "int": pa.int32(),
    "short": pa.int16(),
    "byte": pa.int8(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "uuid": pa.string(),
    "timestamptz": pa.timestamp("us", "UTC"),
    "timestamptz_ns": pa.timestamp("ns", "UTC"),
    "timestamp_ns": pa.timestamp("ns"),
    "timestamp_ntz": pa.timestamp("us"),
}

#: The keys of the list's elements in a schema: those of Delta, and those of Iceberg.
_ELEMENTS = {"array": "elementType", "list": "element"}

#: Columns of files of positional deletes.
_DELETES = pa.schema([("file_path", pa.string()), ("pos", pa.int64())])

_ICEBERG_FILES = {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"}


def snapshot(
    kind: str, path: str, version: int | str | None = None, as_of: datetime.datetime | None = None
) -> Snapshot:
    """The files of a version of a table, by default of the newest.

    Args:
        kind: `delta` or `iceberg`.
        path: folder of the table; of Iceberg, also one of its `.metadata.json`, or `CATALOG:NAMESPACE.TABLE`.
        version: number of a version of Delta; snapshot, branch or tag of Iceberg.
        as_of: time whose version is read, in place of `version`.

    Raises:
        BadInput: the table can't be read, has no such version, or has something that mal-tf does not read.
    """
    return (_fixed if isinstance(version, int) else _read)(kind, path, version, as_of)


def _read(kind: str, path: str, version: int | str | None, as_of: datetime.datetime | None) -> Snapshot:
    package = {"delta": "deltalake", "iceberg": "pyiceberg.table"}[kind]
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise BadInput(
            f"{path}: reading `format: {kind}` needs the package {package.split('.')[0]} ({error}). Install it: "
            f"pip install 'mal-tf[{kind}]'"
        ) from error
    try:
        return (_delta if kind == "delta" else _iceberg)(path, version, as_of)
    except BadInput:
        raise
    except Exception as error:  # Either package has many kinds, not all of its own.
        asked = f", version {version}" if version is not None else f", as of {as_of}" if as_of else ""
        raise BadInput(
            f"{path}{asked}: can't be read as a table of {kind.capitalize()}: {error}. Check the path, `format`, `version` and "
            "`as_of` in `sources`."
        ) from error


#: Snapshots that can't change.
_fixed = functools.lru_cache(maxsize=32)(_read)


def kind_of(folder: str) -> str:
    """`delta` or `iceberg` if a folder is the root of such a table, else empty."""
    for kind, inner, names in (("delta", "_delta_log", "*.json"), ("iceberg", "metadata", "*.metadata.json")):
        log = files.join(folder, inner)
        # A glob takes a millisecond, and a log may have a folder for each hour.
        if (os.path.isdir(log) or not files.is_local(log)) and files.matches(files.join(log, names)):
            return kind
    return ""


def newest(path: str) -> Snapshot | None:
    """The newest version of a table, if a path is the folder of one."""
    if not os.path.isdir(path) if files.is_local(path) else os.path.splitext(path)[1]:  # A store is asked for no files.
        return None
    kind = kind_of(path)
    return snapshot(kind, path) if kind else None


def refuse(paths: Sequence[str]) -> None:
    """Checks that files that a glob matched belong to no table of Delta or Iceberg, whose log says which rows count.

    Raises:
        BadInput: they do.
    """
    places = (path if os.path.isdir(path) else files.folder(path) for path in paths)
    folders = dict.fromkeys(re.sub(r"(/[^/=]+=[^/]*)+$", "", place) for place in places)
    inner = {
        name: folder.partition(f"/{name}")[0] for folder in folders for name in ("_delta_log",) if f"/{name}" in folder
    }
    roots = [*inner.values(), *folders]
    if roots and not files.is_local(roots[0]):
        roots = [roots[0], roots[-1]]  # Each is a request or more.
    for root in dict.fromkeys(at for folder in roots for at in (folder, os.path.dirname(folder))):
        kind = ""
        with contextlib.suppress(
            MalTfError
        ):  # Whoever may read files of a store need not be allowed to list folders above them.
            kind = kind_of(root) if root else ""
        if kind:
            raise BadInput(
                f"{paths[0]}: is of the {kind.capitalize()} table {root}, whose log says which files and rows count. "
                f"Read the table by `format: {kind}` and `files: {root}` in `sources`, an earlier state by `version` or `as_of`."
            )


def _arrow(kind: Any) -> pa.DataType:
    """The type of a column from its JSON; null for those that no column has."""
    if isinstance(kind, str):
        if found := re.fullmatch(r"decimal\((\d+), *(\d+)\)", kind):
            return pa.decimal128(*map(int, found.groups()))
        return _TYPES.get(kind, pa.binary() if kind.startswith("fixed") else pa.null())
    if kind["type"] == "struct":
        return pa.struct([_field(field) for field in kind["fields"]])
    return pa.list_(_arrow(kind[_ELEMENTS[kind["type"]]])) if kind["type"] in _ELEMENTS else pa.null()


def _field(field: dict) -> pa.Field:
    """A column, with its id in Iceberg."""
    return pa.field(field["name"], _arrow(field["type"]), metadata={"id": str(field["id"])} if "id" in field else None)


def _delta(path: str, version: int | str | None, as_of: datetime.datetime | None) -> Snapshot:
    from deltalake import DeltaTable

    if isinstance(version, str):
        raise BadInput(f"{path}: expected the number of a version of Delta, found {version!r}")
    table = DeltaTable(path)
    if as_of is not None:
        times = {entry["version"]: entry.get("timestamp", 0) for entry in table.history()}
        table.load_as_version(as_of)
        if times.get(table.version(), 0) > as_of.timestamp() * 1000:
            raise BadInput(f"{path}: expected a version as of {as_of}, found none before version {table.version()}")
    elif version is not None:
        table.load_as_version(version)
    if (mode := table.metadata().configuration.get("delta.columnMapping.mode", "none")) != "none":
        raise BadInput(
            f"{path}: the columns of this table have other names in its files (delta.columnMapping.mode: {mode}), which is not "
            "read. Write it to a table without column mapping."
        )
    fields = json.loads(table.schema().to_json())["fields"]
    zoned = [field | {"type": "timestamptz"} if field["type"] == "timestamp" else field for field in fields]
    schema = pa.schema(list(map(_field, zoned)))
    actions = table.get_add_actions(flatten=True)
    columns = {name: actions[name].to_pylist() for name in ("path", "size_bytes")}
    parts = [name for name in actions.schema.names if name.startswith("partition.")]
    values = {name.removeprefix("partition."): actions[name].to_pylist() for name in parts}
    deleted = dict(_delta_deleted(table))
    found = [
        DataFile(
            files.join(path, urllib.parse.unquote(at)),
            size,
            schema,
            {name: of[i] for name, of in values.items()},
            deleted.pop(at, None),
        )
        for i, (at, size) in enumerate(zip(columns["path"], columns["size_bytes"], strict=True))
    ]
    if deleted:
        raise BadInput(f"{path}: deleted rows of {next(iter(deleted))}, which is no file of the table")
    stamp = table.metadata().id, table.version()
    return Snapshot("delta", path, table.version(), stamp, schema, tuple(sorted(found, key=lambda file: file.path)))


def _delta_deleted(table: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Positions of deleted rows by relative path."""
    if "deletionVectors" not in (table.protocol().reader_features or ()):
        return
    root = table.table_uri.rstrip("/") + "/"
    for batch in table.deletion_vectors():
        for path, kept in zip(*(batch[name].to_pylist() for name in ("filepath", "selection_vector")), strict=True):
            yield path.removeprefix(root), np.flatnonzero(~np.asarray(kept, bool))


def _iceberg(path: str, version: int | str | None, as_of: datetime.datetime | None) -> Snapshot:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.table import StaticTable

    if re.fullmatch(r"[\w-]+:[\w.-]+", named := os.path.basename(path)):
        catalog, _, name = named.partition(":")
        table: Any = load_catalog(catalog, **_ICEBERG_FILES).load_table(name)
    else:
        table = StaticTable.from_metadata(_metadata(path), _ICEBERG_FILES)
    chosen = _chosen(table, path, version, as_of)
    if chosen is None:
        raise BadInput(f"{path}: expected a table with rows, found one without a snapshot")
    scan = table.scan(snapshot_id=chosen.snapshot_id)
    schema = pa.schema(list(map(_field, json.loads(scan.projection().model_dump_json())["fields"])))
    found = []
    for task in scan.plan_files():
        file, spec = task.file, table.specs()[task.file.spec_id]
        if file.file_format.name != "PARQUET":
            raise BadInput(
                f"{file.file_path}: expected a table with data files of Parquet, found {file.file_format.name}"
            )
        names = [scan.projection().find_column_name(field.source_id) for field in spec.fields]
        constants = {
            name: file.partition[i]
            for i, (name, field) in enumerate(zip(names, spec.fields, strict=True))
            if name in schema.names and str(field.transform) == "identity"
        }
        deleted = _iceberg_deleted(file.file_path, [_local(one.file_path) for one in task.delete_files])
        found.append(DataFile(_local(file.file_path), file.file_size_in_bytes, schema, constants, deleted))
    stamp = str(table.metadata.table_uuid), chosen.snapshot_id
    ordered = tuple(sorted(found, key=lambda file: file.path))
    return Snapshot("iceberg", path, chosen.snapshot_id, stamp, schema, ordered)


def _metadata(path: str) -> str:
    """The newest `.metadata.json` of a table's folder."""
    if path.endswith(".metadata.json"):
        return path
    found = [at for at, _ in files.match((files.join(path, "metadata", "*.metadata.json"),))]
    return max(found, key=lambda at: (int((re.match(r"v?(\d+)", os.path.basename(at)) or ["", "-1"])[1]), at))


def _chosen(table: Any, path: str, version: int | str | None, as_of: datetime.datetime | None) -> Any:
    if as_of is not None:
        found = table.snapshot_as_of_timestamp(int(as_of.timestamp() * 1000))
    elif version is None:
        return table.current_snapshot()
    else:
        found = table.snapshot_by_id(version) if isinstance(version, int) else table.snapshot_by_name(version)
    if found is None:
        asked = f"as of {as_of}" if as_of is not None else f"{version!r}"
        known = ", ".join(str(one.snapshot_id) for one in table.snapshots()[-5:])
        raise BadInput(f"{path}: expected a snapshot {asked}, found none; the newest are {known}")
    return found


def _iceberg_deleted(path: str, deletes: Sequence[str]) -> np.ndarray | None:
    """Positions of deleted rows of a data file."""
    parts = []
    for at in deletes:
        if at.endswith(".puffin"):
            from pyiceberg.table.puffin import PuffinFile

            vectors: Mapping[str, Any] = PuffinFile(files.read_bytes(at)).to_vector()
            parts += [np.asarray(vectors[path].to_pylist(), np.int64)] if path in vectors else []
            continue
        rows = _positions(at)
        parts.append(rows["pos"].filter(pc.equal(rows["file_path"], path)).to_numpy())
    return np.unique(np.concatenate(parts)) if parts else None


@functools.lru_cache(maxsize=64)
def _positions(path: str) -> pa.Table:
    """Rows of a file of positional deletes, which may be of many data files and never changes."""
    with files.open_binary(path) as file:
        return pq.read_table(file, columns=_DELETES.names).select(_DELETES.names).cast(_DELETES)


def _local(path: str) -> str:
    if path.startswith(("s3a://", "s3n://")):  # As Hadoop's clients name what Beam calls s3://.
        return f"s3{path[3:]}"
    return path.removeprefix("file://") if path.startswith("file:///") else path.removeprefix("file:")
