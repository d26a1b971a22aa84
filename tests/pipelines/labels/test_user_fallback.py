"""Events whose user is known by a fallback only, such as the device."""

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from features.errors import BadInput
from pipelines.config.run import load
from pipelines.explain.explain import explain
from tests.support.labels import tree


def known_by_device(log):
    """The log with the users of an even number in a column `device`, and the number of their rows."""
    users = [user[1:] for user in log["user"].to_pylist()]
    even = [int(user) % 2 == 0 for user in users]
    ids = pa.array([None if e else int(u) for e, u in zip(even, users, strict=True)], pa.int64())
    devices = pa.array([u if e else "7" for e, u in zip(even, users, strict=True)])
    at = log.schema.get_field_index("user")
    return log.set_column(at, "user", ids).append_column("device", devices), sum(even)


def as_users(log):
    """The log with these users under an id of their own."""
    users = [f"fallback:{u[1:]}" if int(u[1:]) % 2 == 0 else u[1:] for u in log["user"].to_pylist()]
    return log.set_column(log.schema.get_field_index("user"), "user", pa.array(users))


def output(folder):
    return {n: b for n, b in tree(folder).items() if n.startswith(("Split", "vocab", "attr"))}


@pytest.fixture
def both(project):
    """The project with users in place of devices labelled as `before`; the logs that say devices, and how many rows do."""
    logs = project.clicks, project.conversions
    project.clicks, project.conversions = map(as_users, logs)
    history = {"type": "history", "name": "bought_shops", "of": "shop", "events": "conversions", "length": 4}
    project.config["features"] += [{"type": "categorical", "name": "shop"}, history]
    project.write()
    project.labels("before")
    for name in ("clicks", "conversions"):
        project.config["sources"][name]["columns"]["user_fallback"] = "device"
    return [known_by_device(log) for log in logs]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_the_device_stands_for_a_missing_user(project, both, ending):
    """Clicks, conversions and histories; device 4 of text is the user of no integer."""
    for name, (log, _) in zip(("clicks", "conversions"), both, strict=True):
        path = project.folder / f"{name}-by-device.{ending}"
        if ending == "parquet":
            pq.write_table(log, path)
        elif ending == "csv":
            log.to_pandas(integer_object_nulls=True).to_csv(path, index=False)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in log.to_pylist()))
        project.config["sources"][name]["files"] = path.name
    project.write()
    report = project.labels("after")
    assert [report[name]["user_fallback"] for name in ("clicks", "conversions")] == [count for _, count in both]
    assert "user_fallback" not in json.loads((project.folder / "before/label_report.json").read_text())["clicks"]
    if ending == "parquet":  # Otherwise, ids are text.
        assert output(project.folder / "after") == output(project.folder / "before")
    labels = [json.loads((project.folder / name / "label_report.json").read_text()) for name in ("before", "after")]
    assert labels[0]["splits"] == labels[1]["splits"]
    assert labels[0]["path_lengths"] == labels[1]["path_lengths"]


def test_columns_may_be_of_other_types_or_absent_in_one_file(project, both):
    """Users as floating-point numbers; an older file that has no devices; neither user nor device is a bad row."""
    project.config["labels"]["max_bad_share"] = 0.5
    (clicks, _), (sales, _) = both
    sales = sales.set_column(1, "user", sales["user"].cast(pa.float64()))
    older = clicks.filter(clicks["user"].is_valid()).drop(["device"])
    pq.write_table(older, project.folder / "clicks-0.parquet")
    pq.write_table(clicks.filter(clicks["user"].is_null()), project.folder / "clicks-1.parquet")
    nobody = clicks.slice(0, 3).set_column(1, "user", pa.nulls(3, pa.int64())).set_column(7, "device", pa.nulls(3))
    pq.write_table(nobody, project.folder / "clicks-2.parquet")
    pq.write_table(sales, project.folder / "sales.parquet")
    project.config["sources"]["clicks"]["files"] = "clicks-*.parquet"
    project.config["sources"]["conversions"]["files"] = "sales.parquet"
    project.write()
    report = project.labels("after")
    assert report["dead_letters"] == {"clicks": {"user_id and user_fallback are null": 3}, "conversions": {}}
    assert output(project.folder / "after") == output(project.folder / "before")
    project.config["sources"]["clicks"]["columns"]["user_fallback"] = "devise"
    project.write()
    with pytest.raises(BadInput, match=r"column 'devise' of the clicks table is missing; found columns: id, user"):
        project.labels("misspelt")


def test_a_click_of_a_device_is_explained(project, both):
    (project.clicks, _), (project.conversions, _) = both
    path = project.write()
    project.labels()
    row = next(row for row in project.clicks.to_pylist() if row["user"] is None)
    for user in ("", f"fallback:{row['device']}"):
        found = explain(load(path), str(project.folder / "labels"), str(row["id"]), user)
        assert (found.journey.user_id, found.differs) == (f"fallback:{row['device']}", [])


def test_a_missing_user_is_not_the_one_without_an_id_in_a_table_of_users(project, both):
    (project.clicks, _), (project.conversions, _) = both
    ages = {"user": pa.array([None, *range(1, 40, 2)], pa.int64()), "age": pa.array([99, *[30] * 20])}
    pq.write_table(pa.table(ages), project.folder / "users.parquet")
    project.config["sources"]["clicks"]["join"] = [{"files": "users.parquet", "on": "user"}]
    project.config["features"].append({"type": "categorical", "name": "age", "dtype": "int64"})
    project.write()
    project.labels()
    assert (project.folder / "labels/vocabulary/age.txt").read_text().split() == ["30"]
