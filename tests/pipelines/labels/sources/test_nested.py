"""Fields of structs, and lists whose elements are rows."""

import json

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import BadInput
from features.raw_columns import as_text
from features.roles import ClickColumns
from pipelines.clicks.labelled import load_clicks
from pipelines.labels.sources import reader
from pipelines.labels.sources.tables import TableSource
from tests.support.project import START

ITEM = pa.struct([("id", pa.int64()), ("q", pa.struct([("z.y", pa.string()), ("z", pa.float64())]))])
KINDS = pa.schema(
    [
        ("id", pa.string()),
        ("geo", pa.struct([("country", pa.string()), ("p", pa.struct([("x", pa.int64()), ("d", pa.bool_())]))])),
        ("geo.city", pa.string()),
        ("items", pa.list_(ITEM)),
        ("tags", pa.list_(pa.string())),
    ]
)
WORDS, NUMBERS = st.none() | st.sampled_from(["a", "é", "1.0", "2024-01-01"]), st.none() | st.integers(-(2**60), 2**60)


def objects(**fields):
    return st.none() | st.fixed_dictionaries(fields)


ROWS = st.fixed_dictionaries(
    {
        "id": WORDS,
        "geo": objects(country=WORDS, p=objects(x=NUMBERS, d=st.none() | st.booleans())),
        "geo.city": WORDS,
        "items": st.none() | st.lists(objects(id=NUMBERS, q=objects(**{"z.y": WORDS, "z": st.just(0.5)})), max_size=3),
        "tags": st.none() | st.lists(WORDS, max_size=3),
    }
)
COLUMNS = ["id", "geo.country", "geo.p.x", "geo.p.d", "geo.city"]


def batches(path, columns, explode=None):
    source = TableSource[ClickColumns].model_construct(files=(str(path),), explode=explode)
    return [batch for piece in reader.pieces(str(path)) for batch in reader.read(piece, columns, source)]


def found(path, columns, explode=None):
    """Rows as text with their numbers, and how many there are without an element."""
    rows, empty = [], 0
    for batch in batches(path, columns, explode):
        assert batch.malformed == []
        texts = {name: as_text(batch.rows[name], name).to_pylist() for name in columns}
        rows += [(int(n), *values) for n, values in zip(batch.numbers, zip(*texts.values(), strict=True), strict=True)]
        empty += batch.empty
    return rows, empty


@settings(deadline=None, max_examples=80)
@given(st.lists(ROWS, min_size=1, max_size=6), st.integers(1, 3))
@pytest.mark.parametrize(
    ("explode", "columns"),
    [
        (None, COLUMNS),
        ("items", [*COLUMNS, "items.id", "q.z", "items.q.z.y"]),
        ("items", ["geo.country"]),
        ("tags", [*COLUMNS, "tags"]),
    ],
)
def test_nested_columns_mean_the_same_in_parquet_and_json(tmp_path_factory, explode, columns, rows, batch_rows):
    """In batches of any size, also ones that end within a list."""
    folder = tmp_path_factory.mktemp("log")
    pq.write_table(pa.Table.from_pylist(rows, KINDS), folder / "a.parquet", row_group_size=2)
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_BATCH_ROWS", batch_rows)
        parquet, lines = (found(folder / name, columns, explode) for name in ("a.parquet", "a.jsonl"))
    assert parquet == lines
    numbers = {number for number, *_ in parquet[0]}
    assert len(numbers) + parquet[1] == len(rows)


@pytest.mark.parametrize("kind", [pa.list_(ITEM), pa.large_list(ITEM), pa.list_(ITEM, 2)])
def test_lists_of_every_kind(tmp_path, kind):
    none = [] if pa.types.is_fixed_size_list(kind) else [None]  # pyarrow 10 writes no null among them.
    items = [[{"id": 1, "q": {"z": 0.5}}, None], *none, [{"id": None, "q": None}, {"id": 4, "q": {"z": None}}]]
    table = pa.table({"id": list("xyz")[: len(items)], "items": pa.array(items, kind), "other": [[1]] * len(items)})
    pq.write_table(table, tmp_path / "a.parquet")
    last = (len(items), list("xyz")[len(items) - 1], None), (len(items), "4", None)
    expected = [(1, "1", "0.5"), (1, "x", None), *last]
    assert found(tmp_path / "a.parquet", ["id", "items.q.z"], "items") == (expected, len(none))


def test_only_the_fields_that_are_needed_are_read(tmp_path, monkeypatch):
    rows = pa.Table.from_pylist([{"id": "a", "items": [{"id": 1, "q": {"z": 0.5}}], "tags": ["t"]}], KINDS)
    pq.write_table(rows, tmp_path / "a.parquet")
    read, original = [], pq.ParquetFile.iter_batches

    def iter_batches(self, *args, columns, **keys):
        read.append(columns)
        return original(self, *args, columns=columns, **keys)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    found(tmp_path / "a.parquet", ["geo.p.x", "q.z"], "items")
    found(tmp_path / "a.parquet", ["geo.city"], "items")
    assert [[name.replace(".item.", ".element.") for name in sorted(names)] for names in read] == [
        ["geo.p.x", "items.list.element.q.z"],
        ["geo.city", "items.list.element.id"],  # How long the lists are.
    ]


def test_a_name_with_a_dot_goes_before_a_field(tmp_path):
    row = {"a.b": "the column", "a": {"b": "the field", "c.d": "with a dot", "c": {"e": "deep"}}}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    for name in ("a.parquet", "a.jsonl"):
        rows, _ = found(tmp_path / name, ["a.b", "a.c.d", "a.c.e"])
        assert rows == [(1, "the column", "with a dot", "deep")]
    assert sorted(reader.column_names(str(tmp_path / "a.parquet"))) == ["a", "a.b", "a.c", "a.c.d", "a.c.e"]


def test_objects_and_lists_of_other_kinds_are_malformed_lines(tmp_path):
    lines = [
        '{"geo": "de", "id": 1}',
        '{"geo": [1]}',
        '{"id": 2, "geo": {"country": {}}}',
        '{"geo": {"country": "fr"}}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    (batch,) = batches(tmp_path / "a.jsonl", ["geo.country"])
    assert batch.rows.to_pylist() == [{"geo.country": "fr"}]
    assert [reason for _, reason, _ in batch.malformed] == [
        "field 'geo': expected an object, found a single value",
        "field 'geo': expected an object, found a list",
        "field 'geo.country': expected one value, found an object",
    ]
    (tmp_path / "a.jsonl").write_text(
        '{"items": {"id": 1}}\n{"items": [{"id": 2}, 3]}\n{"items": [{"id": 4}]}\n{"x": 1}\n'
    )
    (batch,) = batches(tmp_path / "a.jsonl", ["items.id"], "items")
    assert (batch.rows["items.id"].to_pylist(), batch.numbers.tolist(), batch.empty) == (["2", "4"], [2, 3], 1)
    assert [reason for _, reason, _ in batch.malformed] == [
        "field 'items': expected a list of objects, found an object",
        "field 'items': expected a list of objects, found one of a single value",
    ]


MECHANISMS = ["first", "last", "linear", "mta"]


def labels(project, name):
    """The labels and features by click, and the report."""
    project.write()
    report = project.labels(name)
    columns = [f"{kind}_{m}" for kind in ("label", "valued_credit") for m in MECHANISMS]
    frame = load_clicks(str(project.folder / name)).frame(["click_id", "user_id", "item", "price", *columns])
    return frame.astype({"click_id": str}).sort_values("click_id", ignore_index=True), report


@pytest.fixture
def events(project):
    """The project's logs as events, one per line; an order of a user has a list of what was bought, others an empty list."""
    value = pa.array([2.5] * project.conversions.num_rows)
    project.conversions = project.conversions.append_column("value", value)
    project.config["sources"]["conversions"]["columns"]["value"] = "value"
    rows = [
        {
            "event": {"id": row["id"], "name": "ad_click"},
            "at": row["ts"],
            "user": {"id": row["user"]},
            "ad": {name: row[name] for name in ("shop", "place", "item", "price")},
            "items": [],
        }
        for row in project.clicks.to_pylist()
    ]
    orders: dict[tuple, list] = {}
    for row in project.conversions.to_pylist():
        bought = {"shop": row["shop"], "sold_as": row["id"], "price": {"usd": 2.5}}
        orders.setdefault((row["user"], row["ts"]), []).append(bought)
    for number, ((user, at), items) in enumerate(orders.items(), 1000):
        event = {"id": number, "name": "purchase"}
        rows.append({"event": event, "at": at, "user": {"id": user}, "ad": None, "items": items})
    unknown = {"shop": None, "sold_as": "lost", "price": {"usd": 9.0}}
    rows.append(
        {"event": {"id": 9999, "name": "purchase"}, "at": START, "user": {"id": "u1"}, "ad": None, "items": None}
    )
    rows.append(rows[-1] | {"items": [unknown, unknown | {"sold_as": "known", "shop": "elsewhere"}]})
    return rows


@pytest.mark.parametrize("writer", ["duckdb", "pyarrow", "jsonl"])
def test_an_export_of_nested_events(project, events, writer):
    """Clicks and, of each item of an order, a conversion with its own match key and value."""
    before, _ = labels(project, "before")
    lines, path = project.folder / "events.jsonl", project.folder / "events.parquet"
    lines.write_text("".join(json.dumps(event) + "\n" for event in events))
    if writer == "duckdb":
        duckdb.execute(f"COPY (SELECT * FROM read_json('{lines}')) TO '{path}' (ROW_GROUP_SIZE 2048)")
    elif writer == "pyarrow":
        pq.write_table(pa.Table.from_pylist(events), path, row_group_size=100)
    shared = {"files": (lines if writer == "jsonl" else path).name}
    roles = {"user_id": "user.id", "timestamp": "at"}
    project.config["sources"]["clicks"] = shared | {
        "where": {"event.name": "ad_click"},
        "columns": roles | {"click_id": "event.id", "match_key": "ad.shop", "touchpoint": "ad.place"},
    }
    bought = {"conversion_id": ["event.id", "items.sold_as"], "match_key": "items.shop", "value": "items.price.usd"}
    project.config["sources"]["conversions"] = shared | {
        "where": {"event.name": "purchase"},
        "explode": "items",
        "columns": roles | bought,
    }
    project.config["features"] = [
        feature if "of" in feature else feature | {"column": f"ad.{feature['name']}"}
        for feature in project.config["features"]
    ]
    after, report = labels(project, "after")
    pd.testing.assert_frame_equal(after, before)
    rows, empty = report["conversions"], project.clicks.num_rows + 1
    assert (rows["read"], rows["empty_lists"]) == (empty + project.conversions.num_rows + 2, empty)
    assert (rows["filtered"], rows["dead_letters"], rows["kept"]) == (0, 1, project.conversions.num_rows + 1)
    assert "empty_lists" not in report["clicks"]
    (letters,) = (project.folder / "after/dead_letter").iterdir()
    letter = json.loads(letters.read_text())
    assert (letter["row"], letter["reason"]) == (len(events), "match_key is null")
    assert letter["file"].endswith(shared["files"])
    assert letter["record"]["items.sold_as"] == "lost"


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        ("clicks", {"columns.user_id": "user"}, r"'user' of the clicks table: expected .* struct.*: id \(string\)\."),
        (
            "clicks",
            {"columns.user_id": "user.di"},
            r"'user\.di' of the clicks table is missing; found columns: .*user\.id",
        ),
        (
            "conversions",
            {"columns.value": "items.price"},
            r"'items\.price' of .* expected numbers, found a struct.*: usd",
        ),
        ("conversions", {"explode": None}, r"'items\.sold_as' of .* is missing.*`explode: items` makes rows"),
        ("conversions", {"explode": "at"}, r"'at': expected a list to explode, found int64"),
        ("conversions", {"explode": "item"}, r"'item' of `explode` is missing; found columns: .*items"),
        ("conversions", {"columns.match_key": "items.id"}, r"'items\.id' of .* missing; found .*items\.sold_as"),
        (
            "conversions",
            {"files": "conversions.csv", "explode": "id"},
            r"'id': expected a list to explode, found string",
        ),
    ],
)
def test_what_is_no_column_or_list_is_named(project, events, table, changes, message):
    """With the fields that there are."""
    pq.write_table(pa.Table.from_pylist(events), project.folder / "events.parquet")
    (project.folder / "conversions.csv").write_text("id,user,shop,ts,value\n")
    roles = {
        "user_id": "user.id",
        "timestamp": "at",
        "click_id": "event.id",
        "match_key": "ad.shop",
        "touchpoint": "ad.place",
    }
    project.config["features"] = [{"type": "categorical", "name": "item", "column": "ad.item"}]
    project.config["sources"]["clicks"] = {
        "files": "events.parquet",
        "columns": roles,
        "where": {"event.name": "ad_click"},
    }
    roles = {
        "user_id": "user.id",
        "timestamp": "at",
        "conversion_id": "items.sold_as",
        "match_key": "items.shop",
    }
    conversions = {"files": "events.parquet", "columns": roles | {"value": "items.price.usd"}, "explode": "items"}
    project.config["sources"]["conversions"] = conversions
    for key, value in changes.items():
        *of, name = [table, *key.split(".")]
        block = project.config["sources"]
        for part in of:
            block = block[part]
        block[name] = value
    project.write()
    with pytest.raises(BadInput, match=message):
        project.labels()
    assert not (project.folder / "labels/manifest.json").exists()


def test_elements_that_share_an_id_are_warned_of(project):
    """As where the id is that of the order."""
    orders = [
        {
            "order": n // 2,
            "user": row["user"],
            "ts": row["ts"],
            "sold": {"items": [{"shop": shop} for shop in ("s0", "s1")]},
        }
        for n, row in enumerate(project.conversions.to_pylist())
    ]
    project.write()
    pq.write_table(pa.Table.from_pylist(orders), project.folder / "orders.parquet")
    source = project.config["sources"]["conversions"]
    source |= {"files": "orders.parquet", "explode": "sold.items"}
    warned = []
    for of_item in ([], ["sold.items.shop"]):
        source["columns"] |= {"conversion_id": ["order", *of_item], "match_key": "shop"}
        project.write()
        warned.append(project.labels(f"by-{len(of_item)}")["warnings"])
    assert [len(of) for of in warned] == [1, 0]
    assert f"{len(orders):,} elements of exploded lists are dropped" in warned[0][0]


@pytest.mark.parametrize(
    "kind", ["uuid", "decimal(9,2)", "timestamp", "timestamptz", "date", "ubigint", "blob", "boolean"]
)
def test_values_of_fields_are_those_of_columns(tmp_path, kind):
    """Whatever their type; as DuckDB writes them."""
    value = {
        "uuid": "123e4567-e89b-12d3-a456-426614174000",
        "decimal(9,2)": "12.50",
        "ubigint": "18446744073709551615",
        "blob": "é",
        "boolean": "true",
    }.get(kind, "2024-02-29")
    path, one = tmp_path / "a.parquet", f"CAST('{value}' AS {kind.replace('blob', 'varchar')})"
    one = f"encode({one})" if kind == "blob" else one
    select = f"SELECT {one} AS a, {{'b': {one}, 'c': 1}} AS s, [{{'d': 0, 'e': {one}}}] AS l"
    duckdb.execute(f"COPY ({select}) TO '{path}'")
    (batch,) = batches(path, ["a", "s.b", "l.e"], "l")
    column, field, element = (batch.rows[name] for name in ("a", "s.b", "l.e"))
    assert column.equals(field)
    assert column.equals(element)
