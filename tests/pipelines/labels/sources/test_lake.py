"""Delta and Iceberg tables: versions, deleted rows, partition columns, and globs over their folders."""

import datetime
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest

from features.errors import BadInput, MalTfError
from features.roles import ClickColumns
from pipelines.clicks import predict
from pipelines.config.run import load
from pipelines.core import manifest
from pipelines.labels import run
from pipelines.labels.sources import lake, reader
from pipelines.labels.sources.formats import DataFile, Piece
from pipelines.labels.sources.tables import TableSource, data_files
from tests.support.delta import DeltaTable
from tests.support.labels import labels_of

ROLES = {"click_id": "id", "user_id": "g", "timestamp": "n"}
SCHEMA = pa.schema([("id", pa.int64()), ("g", pa.string()), ("n", pa.int64()), ("s", pa.struct([("x", pa.string())]))])


def source(path, kind="delta", **keys):
    return TableSource[ClickColumns](files=str(path), columns=ROLES, format=kind, **keys)


def rows(table, columns=("id", "g", "n", "s.x")):
    batches = [
        batch
        for file in data_files(table)
        for piece in reader.pieces(file, table)
        for batch in reader.read(piece, list(columns), table)
    ]
    return [tuple(row.get(name) for name in columns) for batch in batches for row in batch.rows.to_pylist()]


def at(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


@pytest.fixture
def delta(tmp_path):
    """A table of four versions: a file, another one with a newer column, deleted rows, and a file that is removed."""
    pytest.importorskip("deltalake")
    table = DeltaTable(tmp_path / "lake", SCHEMA, ["g"], ["deletionVectors"])
    first = table.add(pa.table({"id": [1, 2, 3, 4], "s": [{"x": "q"}] * 4}), g="a ü/b%")
    table.commit(1_000_000)
    second = table.add(pa.table({"id": [5, 6], "n": [1, 2]}), g="b")
    table.commit(2_000_000)
    table.delete(first, [1, 3], g="a ü/b%")
    table.commit(3_000_000)
    table.remove(second)
    table.commit(4_000_000)
    return tmp_path / "lake"


A, B = [(number, "a ü/b%", None, "q") for number in (1, 2, 3, 4)], [(5, "b", 1, None), (6, "b", 2, None)]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, [A[0], A[2]]),
        ({"version": 0}, A),
        ({"version": 1}, [*A, *B]),
        ({"version": 2}, [A[0], A[2], *B]),
        ({"as_of": at(2500)}, [*A, *B]),
    ],
)
def test_versions_of_delta(delta, keys, found):
    table = source(delta, **keys)
    assert rows(table) == found
    assert reader.column_names("part", table) == ["id", "g", "n", "s", "s.x"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"version": 9}, r"lake, version 9: can't be read as a table of Delta: .*Check the path"),
        ({"as_of": at(500)}, r"expected a version as of 1970-01-01 00:08:20\+00:00, found none before version 0"),
        ({"version": "main"}, r"expected the number of a version of Delta, found 'main'"),
    ],
)
def test_versions_that_delta_has_not(delta, keys, message):
    with pytest.raises(BadInput, match=message):
        data_files(source(delta, **keys))


def test_row_numbers_are_those_of_the_data_file(delta):
    table = source(delta)
    (file,) = data_files(table)
    (batch,) = [b for piece in reader.pieces(file, table) for b in reader.read(piece, ["id"], table)]
    assert (batch.numbers.tolist(), "a%20" in file.path) == ([1, 3], True)


def test_column_mapping_is_refused(tmp_path):
    pytest.importorskip("deltalake")
    table = DeltaTable(tmp_path / "lake", SCHEMA)
    table.meta["configuration"] = {"delta.columnMapping.mode": "name"}
    table.add(pa.table({"id": [1]}))
    table.commit()
    with pytest.raises(BadInput, match=r"lake.*(columnMapping|column mapping)"):
        data_files(source(tmp_path / "lake"))


@pytest.mark.parametrize("pattern", ["**/*.parquet", "*/*.parquet", "g=b/*.parquet", "."])
def test_globs_over_delta_are_refused(delta, pattern):
    table = TableSource[ClickColumns](files=f"{delta}/{pattern}".removesuffix("/."), columns=ROLES)
    with pytest.raises(
        BadInput, match=r"of the Delta table .*lake, whose log says.*`format: delta` and `files: .*lake`"
    ):
        data_files(table)


def test_checkpoints_are_refused(delta):
    pq.write_table(pa.table({"id": [1]}), delta / "_delta_log" / "0.checkpoint.parquet")
    with pytest.raises(BadInput, match=r"of the Delta table .*lake, whose log"):
        data_files(TableSource[ClickColumns](files=f"{delta}/_delta_log/*.parquet", columns=ROLES))


def test_globs_over_iceberg_are_refused(tmp_path):
    (tmp_path / "t" / "metadata").mkdir(parents=True)
    (tmp_path / "t" / "metadata" / "v1.metadata.json").write_text("{}")
    (tmp_path / "t" / "data" / "g=a").mkdir(parents=True)
    pq.write_table(pa.table({"id": [1]}), tmp_path / "t" / "data" / "g=a" / "a.parquet")
    with pytest.raises(BadInput, match=r"of the Iceberg table .*/t, whose log says"):
        data_files(TableSource[ClickColumns](files=f"{tmp_path}/t/**/*.parquet", columns=ROLES))


@pytest.mark.parametrize(("kind", "package"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_a_package_that_is_missing(tmp_path, monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.table", None)
    with pytest.raises(
        BadInput, match=rf"`format: {kind}` needs the package {package} .*pip install 'mal-tf\[{kind}\]'"
    ):
        data_files(source(tmp_path, kind))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"format": "delta", "version": 1, "as_of": at(1)}, "expected version or as_of, found both"),
        ({"format": "delta", "as_of": datetime.datetime(2024, 1, 1)}, "as_of: needs a time zone"),
        ({"version": 1}, "version and as_of need format: delta or iceberg"),
        ({"format": "delta", "files": ["a", "b"]}, "expected one table with format: delta, found 2"),
        ({"format": "excel"}, "excel"),
    ],
)
def test_keys(keys, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        TableSource[ClickColumns].model_validate({"files": "a", "columns": ROLES} | keys)
    assert not {"format", "version", "as_of"} & set(TableSource[ClickColumns](files="a", columns=ROLES).model_dump())


def test_a_format_of_files_whose_names_do_not_tell(tmp_path):
    pq.write_table(pa.table({"id": [1], "n": [2]}), tmp_path / "000000_0")
    assert rows(source(tmp_path / "000000_0", "parquet"), ("id", "n")) == [(1, 2)]


@pytest.fixture
def lakes(project):
    """The project's clicks as a Delta table, partitioned by place, with rows that were deleted."""
    pytest.importorskip("deltalake")
    rest = project.clicks.schema.remove(project.clicks.schema.get_field_index("place"))
    table = DeltaTable(project.folder / "lake", project.clicks.schema, ["place"], ["deletionVectors"])
    place, stray = np.array(project.clicks["place"].to_pylist()), project.clicks.slice(0, 3).drop(["place"])
    added = []
    for name in sorted(set(place)):
        part = project.clicks.filter(pa.array(place == name)).drop(["place"])
        path = table.add(pa.concat_tables([part, stray]).cast(rest), place=name)
        added.append((name, path, range(part.num_rows, part.num_rows + 3)))
    table.commit(1000)
    for name, path, positions in added:
        table.delete(path, positions, place=name)
    table.commit(1500)
    return table


def test_labels_from_delta(project, lakes):
    before = labels_of(project, "before")
    project.config["sources"]["clicks"] |= {"files": "lake", "format": "delta"}
    assert labels_of(project, "after") == before
    found = manifest.read(str(project.folder / "after"))
    assert found["source_tables"]["clicks"] == {"format": "delta", "path": str(project.folder / "lake"), "version": 1}


def test_a_new_version_makes_labels_due_and_the_same_does_not(project, lakes):
    project.config["sources"]["clicks"] |= {"files": "lake", "format": "delta"}
    path = project.write()
    made = run.made_from(load(path))
    assert run.made_from(load(path)) == made
    lakes.add(project.clicks.slice(0, 1).drop(["place"]), place="top")
    lakes.commit(2000)
    assert run.made_from(load(path)) != made
    project.config["sources"]["clicks"]["version"] = 1
    pinned = run.made_from(load(project.write()))
    lakes.add(project.clicks.slice(1, 1).drop(["place"]), place="top")
    lakes.commit(3000)
    assert run.made_from(load(path)) == pinned


def test_predict_reads_the_newest_version(delta):
    found = [row["id"] for batch in reader.read_file(str(delta), ["id", "g"]) for row in batch.rows.to_pylist()]
    assert found == [1, 3]
    assert predict.lake.newest(str(delta)) is not None
    assert reader.column_names(str(delta)) == ["id", "g", "n", "s", "s.x"]


def _ids(kind, number):
    return pa.field(*kind, metadata={"PARQUET:field_id": str(number)})


@pytest.fixture
def iceberg(tmp_path):
    """A table of two snapshots: a file, then its column `ts` is `n` and there is another file."""
    pytest.importorskip("pyiceberg")
    catalogs, schemas = (pytest.importorskip(f"pyiceberg.{name}") for name in ("catalog.sql", "schema"))
    from pyiceberg import types
    from pyiceberg.manifest import DataFile as IcebergFile
    from pyiceberg.manifest import DataFileContent, FileFormat
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import IdentityTransform
    from pyiceberg.typedef import Record

    options = {"uri": f"sqlite:///{tmp_path}/c.db", "warehouse": f"file://{tmp_path}/w"}
    catalog = catalogs.SqlCatalog("c", **options, **lake._ICEBERG_FILES)
    catalog.create_namespace("shop")
    fields = [("id", types.LongType()), ("g", types.StringType()), ("ts", types.LongType())]
    schema = schemas.Schema(
        *(types.NestedField(i + 1, name, kind, required=False) for i, (name, kind) in enumerate(fields))
    )
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "g"))
    table = catalog.create_table("shop.clicks", schema, partition_spec=spec)
    folder = tmp_path / "w" / "shop" / "clicks"
    (folder / "data").mkdir(parents=True, exist_ok=True)

    def add(name, group, columns):
        kinds = [_ids((n, pa.int64()), number) for n, number, _ in columns]
        path = folder / "data" / name
        pq.write_table(pa.table([values for *_, values in columns], schema=pa.schema(kinds)), path)
        entry = {"content": DataFileContent.DATA, "file_path": f"file://{path}", "file_format": FileFormat.PARQUET}
        entry |= {
            "partition": Record(group),
            "record_count": 2,
            "file_size_in_bytes": path.stat().st_size,
            "spec_id": 0,
        }
        entry |= {key: {} for key in ("column_sizes", "value_counts", "null_value_counts", "nan_value_counts")}
        entry |= {
            "lower_bounds": {},
            "upper_bounds": {},
            "split_offsets": [],
            "sort_order_id": None,
            "equality_ids": None,
        }
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
            append.append_data_file(IcebergFile.from_args(**entry))

    add("a.parquet", "x", [("id", 1, [1, 2]), ("ts", 3, [10, 20])])
    with table.update_schema() as update:
        update.rename_column("ts", "n")
    add("b.parquet", "y", [("id", 1, [3, 4]), ("n", 3, [30, 40])])
    return folder, [one.snapshot_id for one in table.snapshots()]


def test_snapshots_of_iceberg(iceberg):
    folder, (first, second) = iceberg
    columns = ("id", "g", "n", "ts")
    newest = [(1, "x", 10, None), (2, "x", 20, None), (3, "y", 30, None), (4, "y", 40, None)]
    assert rows(source(folder, "iceberg"), columns) == newest
    assert rows(source(folder, "iceberg", version="main"), columns) == newest
    assert source(folder, "iceberg").resolved().version == second
    assert rows(source(folder, "iceberg", version=first), columns) == [(1, "x", None, 10), (2, "x", None, 20)]
    with pytest.raises(BadInput, match=rf"expected a snapshot 5, found none; the newest are {first}, {second}"):
        data_files(source(folder, "iceberg", version=5))
    with pytest.raises(BadInput, match="expected a snapshot as of 1970"):
        data_files(source(folder, "iceberg", as_of=at(1)))


def test_no_table_of_iceberg(tmp_path):
    pytest.importorskip("pyiceberg")
    with pytest.raises(BadInput, match=r"can't be read as a table of Iceberg: .*Check the path, `format`"):
        data_files(source(tmp_path / "none", "iceberg"))


def test_positional_deletes_of_iceberg(tmp_path):
    paths = {"pos": [3, 0, 1], "file_path": ["file:///a", "file:///b", "file:///a"]}
    pq.write_table(pa.table(paths), tmp_path / "d.parquet")
    assert lake._iceberg_deleted("file:///a", [str(tmp_path / "d.parquet")]).tolist() == [1, 3]
    assert lake._iceberg_deleted("file:///a", []) is None
    pq.write_table(pa.table({"id": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    file = DataFile(str(tmp_path / "a.parquet"), 0, pa.schema([("id", pa.int64())]), {}, np.array([1, 3]))
    (batch,) = reader.read(Piece(file.path, 0, file), ["id"])
    assert (batch.rows["id"].to_pylist(), batch.numbers.tolist()) == ([1, 3], [1, 3])


def test_data_files_are_found_by_the_names_of_hadoop():
    assert [
        lake._local(path) for path in ("s3a://b/a", "s3n://b/a", "s3://b/a", "file:///a", "file:/a", "gs://b/a")
    ] == [
        *["s3://b/a"] * 3,
        *["/a"] * 2,
        "gs://b/a",
    ]


def test_a_version_without_files_says_so(delta):
    table = DeltaTable(delta.parent / "empty", SCHEMA)
    table.commit()
    with pytest.raises(BadInput, match="empty: expected a table with rows, found version 0 without data files"):
        data_files(source(delta.parent / "empty"))


def test_files_of_a_store_that_lists_no_folders_above_are_read(monkeypatch):
    def forbidden(folder):
        raise MalTfError("403")

    monkeypatch.setattr(lake, "kind_of", forbidden)
    lake.refuse(["gs://bucket/team/logs/clicks.parquet"])


def test_folders_without_a_log_are_not_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(lake.files, "matches", lambda pattern: pytest.fail(pattern))
    lake.refuse([str(tmp_path / hour / "clicks.parquet") for hour in ("00", "01")])


def test_a_renamed_field_of_a_struct_is_refused(tmp_path):
    inner = pa.struct([pa.field("y", pa.int64(), metadata={"PARQUET:field_id": "2"})])
    kind = pa.schema([pa.field("s", inner, metadata={"PARQUET:field_id": "1"})])
    pq.write_table(pa.table([pa.array([{"y": 1}], inner)], schema=kind), tmp_path / "a.parquet")
    of = json.loads(
        '[{"name": "s", "id": 1, "type": {"type": "struct", "fields": [{"name": "x", "id": 2, "type": "long"}]}}]'
    )
    file = DataFile(str(tmp_path / "a.parquet"), 0, pa.schema([lake._field(field) for field in of]))
    with pytest.raises(BadInput, match=r"field 'y' of column 's' is 'x' in the table since.*rewrite_data_files"):
        list(reader.read(Piece(file.path, 0, file), ["s.x"]))
