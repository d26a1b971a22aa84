"""Rows of the logs that can't be used as they stand: which stay, which are replaced, and what the report counts."""

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from features.errors import BadInput
from features.time_units import UNITS_PER_SECOND
from pipelines.clicks.labelled import load_clicks
from tests.support.labels import labels_of, read_examples, read_labels
from tests.support.project import DAY, START

WORTH = ("label", "credit", "valued_credit")


def with_values(project, change):
    """Gives each conversion a value of 10, or what `change` says of its place."""
    values = [change.get(place, 10.0) for place in range(project.conversions.num_rows)]
    project.conversions = project.conversions.append_column("value", pa.array(values, pa.float64()))
    project.config["sources"]["conversions"]["columns"]["value"] = "value"


def report(project, name="labels"):
    return json.loads((project.folder / name / "label_report.json").read_text())


def test_a_conversion_without_a_usable_value_keeps_its_labels(project):
    project.config["labels"]["max_bad_share"] = 0.02
    with_values(project, {})
    before = labels_of(project, "before", kinds=WORTH)
    project.conversions = project.conversions.drop(["value"])
    with_values(project, {3: None, 5: -1.0})
    after = labels_of(project, "after", kinds=WORTH)
    labels = [{c: {k: v for k, v in r.items() if k[:5] != "value"} for c, r in x.items()} for x in (before, after)]
    assert labels[0] == labels[1]
    worth = [sum(row["valued_credit_last"] for row in found.values()) for found in (before, after)]
    assert worth[1] <= worth[0]
    found = report(project, "after")
    assert found["missing_cells"]["conversions"] == {"value": {"value is negative": 1, "value is null": 1}}
    assert found["conversions"]["dead_letters"] == 0


def test_negative_values_are_kept_or_refunds_if_told_to(project):
    with_values(project, dict.fromkeys(range(project.conversions.num_rows), -2.0))
    project.config["sources"]["conversions"]["columns"]["negative_value"] = "keep"
    kept = labels_of(project, "kept", ("last",), WORTH)
    assert all(row["valued_credit_last"] == -2 * row["credit_last"] for row in kept.values())
    project.conversions = project.conversions.drop(["value"])
    with_values(project, {0: -2.0})
    project.config["sources"]["conversions"]["columns"]["negative_value"] = "refund"
    labels_of(project, "refund")
    counts = report(project, "refund")["conversions"]
    assert (counts["refunds"], counts["kept"]) == (1, project.conversions.num_rows - 1)


def test_too_many_missing_cells_of_a_column_fail(project):
    with_values(project, {3: None, 5: None, 7: -1.0})
    project.write()
    with pytest.raises(BadInput, match=r"column 'value' of the conversions table .* in 3 of \d+ .*value is null \(2\)"):
        project.labels()
    assert not (project.folder / "labels/manifest.json").exists()


def test_a_click_with_an_unreadable_feature_stays_in_its_journeys(project):
    before = labels_of(project, "before")
    price = [str(p) for p in project.clicks["price"].to_pylist()]
    price[7] = "dear"
    project.clicks = project.clicks.set_column(6, "price", pa.array(price))
    assert labels_of(project, "after") == before
    assert report(project, "after")["missing_cells"]["clicks"] == {"price": {"feature is not a number": 1}}


@pytest.mark.parametrize("shards", [1, 5])
def test_a_conversion_that_is_sent_again_replaces_the_one_before(project, shards):
    with_values(project, {})
    project.config["labels"]["shards"] = shards
    first = labels_of(project, "first", kinds=WORTH)
    resent = project.conversions.set_column(4, "value", pa.array([25.0] * project.conversions.num_rows))
    pq.write_table(resent, project.folder / "conversions-a.parquet")  # Later in the log than conversions-.parquet
    pq.write_table(resent.slice(0, 4), project.folder / "conversions-b.parquet")
    (project.folder / "conversions.parquet").rename(project.folder / "conversions-.parquet")
    project.labels("again")
    again = read_labels(project.folder / "again", kinds=WORTH)
    assert {c: r["valued_credit_linear"] / 2.5 for c, r in again.items()} == pytest.approx(
        {c: r["valued_credit_linear"] for c, r in first.items()}
    )
    rows = report(project, "again")["conversions"]
    assert (rows["restated"], rows["exact_repeats"], rows["dead_letters"]) == (resent.num_rows, 4, 0)


def test_the_latest_file_is_the_last_by_its_number(project):
    """Not the last by its letters: `sales-2` comes after `sales` and before `sales-10`."""
    with_values(project, {})
    labels_of(project, "first", kinds=WORTH)
    for name, value in (("sales", 5.0), ("sales-2", 7.0), ("sales-10", 25.0)):
        values = pa.array([value] * project.conversions.num_rows)
        pq.write_table(project.conversions.set_column(4, "value", values), project.folder / f"{name}.parquet")
    for files, worth in (("sales*.parquet", 25.0), (["sales-2.parquet", "sales.parquet"], 7.0)):
        project.config["sources"]["conversions"]["files"] = files
        found = labels_of(project, f"by-{worth}", kinds=WORTH)
        assert {row["valued_credit_last"] / row["credit_last"] for row in found.values() if row["credit_last"]} == {
            worth
        }


def test_a_stray_late_event_is_warned_of_without_observed_until(project, caplog):
    late = (
        project.conversions.slice(0, 1)
        .set_column(3, "ts", pa.array([START + 9 * DAY]))
        .set_column(0, "id", pa.array(["late"]))
    )
    project.conversions = pa.concat_tables([project.conversions, late])
    labels_of(project)
    assert report(project)["warnings"] == []
    del project.config["labels"]["observed_until"]
    labels_of(project, "open")
    (warning,) = report(project, "open")["warnings"]
    assert warning.startswith("the last day of the logs, 2023-11-24, has far fewer events (1)")
    assert warning in caplog.text


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_end_of_the_logs_is_exclusive_whatever_the_unit(project, unit):
    """The last moment before it is in the logs, as is the window that ends then; the next one is not."""
    per_second = UNITS_PER_SECOND[unit]
    end = (START + 3 * DAY) * per_second
    window = 12 * 3600 * per_second
    times = project.clicks["ts"].to_numpy() * per_second
    times[:4] = [end - 1 - window, end - window, end - 1, end]
    column = pa.array(times) if unit == "s" else pa.array(times, pa.timestamp(unit, "UTC"))
    clicks = project.clicks.set_column(3, "ts", column)
    project.config["labels"] |= {"observed_before": "2023-11-18T00:00:00+00:00", "immature": "mark"}
    del project.config["labels"]["observed_until"]
    project.write()
    pq.write_table(clicks, project.folder / "clicks.parquet", version="2.6")
    rows = project.labels()["clicks"]
    assert (rows["after_observed_until"], rows["written"]) == (1, len(times) - 1)
    found = read_examples(project.folder / "labels", whole=("click_id", "mature")).set_index("click_id")["mature"]
    assert [found[number] for number in range(3)] == [1, 0, 0]
    assert 3 not in found.index


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_newer_columns_are_null_in_older_files(project, kind):
    with_values(project, {})
    old, new = project.clicks.slice(0, 300), project.clicks.slice(300)
    nulls = old.set_column(6, "price", pa.nulls(300, pa.float64()))
    project.clicks = pa.concat_tables([nulls, new])
    project.write()
    project.labels("before")
    write = pq.write_table if kind == "parquet" else pyarrow.csv.write_csv
    for name, part in (("clicks-0", old.drop(["price"])), ("clicks-1", new)):
        write(part, project.folder / f"{name}.{kind}")
    sales = project.conversions
    for name, part in (("conversions-0", sales.slice(0, 9).drop(["value"])), ("conversions-1", sales.slice(9))):
        write(part, project.folder / f"{name}.{kind}")
    for name in ("clicks", "conversions"):
        project.config["sources"][name]["files"] = f"{name}-?.{kind}"
    project.write()
    project.labels("after")
    assert report(project, "after")["splits"] == report(project, "before")["splits"]
    assert report(project, "after")["missing_cells"]["conversions"] == {}
    project.config["features"][2]["column"] = "prize"
    project.write()
    with pytest.raises(BadInput, match=r"column 'prize' of the clicks table is missing"):
        project.labels("misspelt")


def with_text_clicks(project, ending, change):
    """Writes the clicks as CSV or JSON Lines, with lines changed by their place."""
    rows = project.clicks.set_column(0, "id", project.clicks["id"].cast(pa.string()))
    project.write()
    if ending == "csv":
        lines = rows.to_pandas().to_csv(index=False).encode().splitlines()
    else:
        lines = [json.dumps(row).encode() for row in rows.to_pylist()]
    lines = [change.get(place, lambda line: line)(line) for place, line in enumerate(lines)]
    (project.folder / f"clicks.{ending}").write_bytes(b"\n".join(lines))
    project.config["sources"]["clicks"]["files"] = f"clicks.{ending}"
    (project.folder / "config.yaml").write_text(yaml.safe_dump(project.config))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_cell_that_can_not_be_read_is_missing_and_a_key_makes_the_row_bad(project, ending):
    project.config["labels"]["max_bad_share"] = 0.1
    with_text_clicks(project, ending, {})
    project.labels("before")
    before = labels_of_texts(project, "before")

    def of(name, value):
        def change(line):
            if ending == "csv":
                values = line.split(b",")
                values[project.clicks.schema.names.index(name)] = value
                return b",".join(values)
            return json.dumps(json.loads(line) | {name: "@"}).encode().replace(b'"@"', value)

        return change

    cell = b'"\xe9"' if ending == "jsonl" else b"\xe9"
    changes = {7: of("place", cell), 8: of("item", cell), 9: of("price", cell), 10: of("shop", cell)}
    with_text_clicks(project, ending, changes)
    project.labels("after")
    found, after = report(project, "after"), labels_of_texts(project, "after")
    assert found["missing_cells"]["clicks"] == {name: {"not UTF-8": 1} for name in ("item", "place", "price")}
    assert list(found["dead_letters"]["clicks"].values()) == [1]
    bad = project.clicks["id"][9 if ending == "csv" else 10].as_py()  # The first line of CSV is the header.
    assert set(before["click_id"]) - {str(bad)} == set(after["click_id"])


def labels_of_texts(project, name):
    return load_clicks(str(project.folder / name)).frame(["click_id", "label_last"])


def test_lists_and_objects_in_place_of_values_are_missing_cells(project):
    project.config["labels"]["max_bad_share"] = 0.1
    lines = {
        7: lambda line: line.replace(b'"place": "', b'"place": ["').replace(b'", "item"', b'"], "item"'),
        8: lambda line: line.replace(b'"item": ', b'"item": {"x": 1}, "y": '),
        9: lambda line: line.replace(b'"price": ', b'"price": [], "y": '),
    }
    with_text_clicks(project, "jsonl", lines)
    project.labels()
    assert report(project)["missing_cells"]["clicks"] == {
        "place": {"expected one value, found a list": 1},
        "item": {"expected one value, found an object": 1},
        "price": {"expected one value, found a list": 1},
    }
    assert report(project)["clicks"]["dead_letters"] == 0


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_values_that_older_files_lack_are_no_bad_cells(project, ending):
    with_values(project, {3: None})
    project.write()
    older = pa.table({"id": ["old"], "user": ["u1"], "shop": ["s1"], "ts": [START + 100]}).to_pandas()
    older = older.loc[older.index.repeat(200)].assign(id=[f"old{i}" for i in range(200)])
    path = str(project.folder / f"conversions-0.{ending}")
    {"parquet": older.to_parquet, "csv": older.to_csv}.get(
        ending, lambda path, index: older.to_json(path, orient="records", lines=True)
    )(path, index=False)
    project.config["sources"]["conversions"]["files"] = ["conversions.parquet", f"conversions-0.{ending}"]
    (project.folder / "config.yaml").write_text(yaml.safe_dump(project.config))
    project.labels()
    assert report(project)["missing_cells"]["conversions"] == {"value": {"value is null": 1}}


def test_too_many_bad_rows_name_the_first(project):
    with_text_clicks(project, "jsonl", {place: lambda line: b"[" + line for place in range(11, 60)})
    with pytest.raises(BadInput, match=r"clicks.jsonl, row 12: not a JSON object"):
        project.labels()


@pytest.mark.parametrize("shards", [1, 5])
def test_ids_of_two_types_name_a_file_of_each(project, shards):
    project.config["labels"]["shards"] = shards
    with_text_clicks(project, "csv", {})
    project.config["sources"]["clicks"]["files"] = ["clicks.csv", "clicks.parquet"]
    (project.folder / "config.yaml").write_text(yaml.safe_dump(project.config))
    with pytest.raises(BadInput, match=r"click_id is int64 in \S+clicks.parquet and string in \S+clicks.csv"):
        project.labels()
