"""Logs of context touches through the label job: labels by the definition, what the report counts, and bad rows."""

import json
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from features.errors import BadInput, MalTfError
from pipelines.config.run import dump, load
from pipelines.labels import run
from tests.support.labels import HOUR, read_labels, tree
from tests.support.project import DAY, START
from tests.support.source_tree import ROOT
from tests.support.views import with_views, write_views

NAMES = ("last", "linear", "last_click", "last_1h")


def expected(project, views, hours=6):
    """Credit by kind, id and mechanism, from the rows and the definition alone."""
    windows = {"last": (12, hours), "linear": (12, hours), "last_click": (12, -1), "last_1h": (1, 1)}
    touches = [(c["ts"], 1, c["id"], c) for c in project.clicks.to_pylist()]
    touches += [(v["ts"], 0, v["id"], v) for v in views]
    credit, journeys = {}, dict.fromkeys(windows, 0)
    for sale in project.conversions.to_pylist():
        for name, (click_hours, view_hours) in windows.items():
            path = sorted(
                (time, is_click, touch)
                for time, is_click, touch, row in touches
                if (row["user"], row["shop"]) == (sale["user"], sale["shop"])
                and 0 <= sale["ts"] - time <= (click_hours if is_click else view_hours) * HOUR
            )
            journeys[name] += bool(path)
            for place, (_, is_click, touch) in enumerate(path):
                share = 1 / len(path) if name == "linear" else float(place == len(path) - 1)
                credit[is_click, touch, name] = credit.get((is_click, touch, name), 0) + share
    return credit, journeys


def test_labels_and_counts_are_what_the_definition_says(project):
    views = with_views(project)
    project.write()
    report = project.labels()
    credit, journeys = expected(project, views)
    found = read_labels(project.folder / "labels", NAMES)
    assert set(found) == {c["id"] for c in project.clicks.to_pylist() if c["ts"] + 12 * HOUR <= START + 3 * DAY}
    for click, row in found.items():
        for name in NAMES:
            assert row[f"credit_{name}"] == pytest.approx(credit.get((1, click, name), 0), abs=1e-6)
            assert row[f"label_{name}"] == pytest.approx(min(credit.get((1, click, name), 0), 1), abs=1e-6)
    assert report["context_view"]["read"] == report["context_view"]["kept"] == len(views)
    assert sum(report["days"]["context_view"].values()) == len(views)
    touches = report["touches"]
    assert [touches["click"]["touches"], touches["view"]["touches"]] == [project.clicks.num_rows, len(views)]
    for name in NAMES:
        of_views = sum(n for (is_click, _, m), n in credit.items() if m == name and not is_click)
        assert touches["view"]["credit"][name] == pytest.approx(of_views, abs=2e-6)
        assert touches["click"]["credit"][name] + of_views == pytest.approx(journeys[name], abs=2e-6)
    assert touches["view"]["credit"]["last_click"] == 0 < touches["view"]["credit"]["mta"]
    assert 0 < report["conversions"]["context_only"] <= report["conversions"]["without_click"]
    fit = json.loads((project.folder / "labels/attribution/mta.json").read_text())
    assert fit["made_for"]["context"] == [{"name": "view", "touchpoint_columns": ["place"], "window_hours": 6.0}]
    types = (project.folder / "labels/attribution/touchpoint.txt").read_text().split("\n")
    assert {"top", "(view) top", "(view) side"} <= set(types)


def test_shards_order_and_repeats_change_nothing(project):
    views = with_views(project)
    project.write()
    project.labels("once")
    write_views(project, [*views[::-1], *views[:50]])
    project.config["labels"]["shards"] = 5
    project.write()
    report = project.labels("again")
    labels = [read_labels(project.folder / name, (*NAMES, "mta")) for name in ("once", "again")]
    assert labels[0] == labels[1]
    fits = [(project.folder / name / "attribution/mta.json").read_bytes() for name in ("once", "again")]
    assert fits[0] == fits[1]
    assert report["context_view"]["exact_repeats"] == 50


def test_bad_views_are_dead_letters_and_change_no_other_row(project):
    views = with_views(project)
    project.config["labels"]["max_bad_share"] = 0.05
    project.write()
    project.labels("good")
    bad = [views[0] | {"id": "x", "user": None}, views[0] | {"id": "y", "ts": -5}, views[0] | {"place": "other"}]
    write_views(project, views + bad)
    report = project.labels("bad")
    assert report["context_view"]["dead_letters"] == 3
    assert report["dead_letters"]["context_view"] == {
        "timestamp is negative": 1,
        "touch_id is a duplicate with other content": 1,
        "user_id is null": 1,
    }
    (letters,) = (project.folder / "bad/dead_letter").glob("context_view-*.jsonl")
    assert [json.loads(line)["row"] for line in letters.read_text().splitlines()] == [401, 402, 403]
    labels = [read_labels(project.folder / name, (*NAMES, "mta")) for name in ("good", "bad")]
    assert labels[0].keys() == labels[1].keys()
    project.config["labels"]["max_bad_share"] = 0.001
    project.write()
    with pytest.raises(BadInput, match="3 of 403 rows of the context_view table are bad"):
        project.labels("refused")


def test_one_log_of_clicks_and_views_gives_the_same_labels(project):
    views = with_views(project)
    project.write()
    project.labels("two")
    clicks = [row | {"event": "click", "id": str(row["id"])} for row in project.clicks.to_pylist()]
    rows = clicks + [row | {"event": "view", "item": None, "price": None} for row in views]
    pq.write_table(pa.Table.from_pylist(rows), project.folder / "log.parquet")
    sources = project.config["sources"]
    sources["clicks"] |= {"files": "log.parquet", "where": {"event": "click"}}
    sources["context"][0] |= {"files": "log.parquet", "where": {"event": "view"}}
    project.write()
    report = project.labels("one")
    assert report["context_view"]["filtered"] == len(clicks)
    other = json.loads((project.folder / "two/label_report.json").read_text())
    # Ids are text here, and so in the order of numbers as before.
    assert (report["splits"], report["touches"]) == (other["splits"], other["touches"])


def test_views_move_neither_the_end_of_the_logs_nor_the_splits(project):
    views = with_views(project)
    del project.config["labels"]["observed_until"]
    project.write()
    project.labels("before")
    write_views(
        project, [*views, views[0] | {"id": "late", "ts": START + 9 * DAY}, views[1] | {"id": "early", "ts": 5}]
    )
    project.labels("after")
    labels = [read_labels(project.folder / name, NAMES) for name in ("before", "after")]
    assert labels[0] == labels[1]


def test_views_of_other_users_get_a_warning(project):
    views = with_views(project)
    write_views(project, [row | {"user": f"other {row['user']}"} for row in views])
    project.write()
    (warning,) = project.labels()["warnings"]
    assert warning.startswith(
        "none of the 400 view touches gets credit for a conversion: check that their log holds user ids"
    )


def test_ids_may_be_integers_and_files_csv(project):
    views = with_views(project)
    table = pa.Table.from_pylist([row | {"id": int(row["id"][1:])} for row in views])
    project.write()
    project.labels("text")
    pa.csv.write_csv(table, project.folder / "views.csv")
    pq.write_table(table, project.folder / "views.parquet")
    labels = []
    for kind in ("parquet", "csv"):
        project.config["sources"]["context"][0]["files"] = f"views.{kind}"
        project.write()
        project.labels(kind)
        labels.append(read_labels(project.folder / kind, NAMES))
    assert labels[0] == labels[1] == read_labels(project.folder / "text", NAMES)


def test_two_kinds_with_the_window_of_clicks_are_like_more_clicks_without_rows(project):
    """Without windows of their own, context touches are eligible as clicks are: linear shares with all of them."""
    views = with_views(project, hours=12)
    del project.config["attribution"]["context_window_hours"]
    context = project.config["sources"]["context"]
    context.append(context[0] | {"name": "video", "where": {"place": "side"}})
    context[0]["where"] = {"place": ["top", "feed"]}
    project.write()
    report = project.labels()
    credit, _ = expected(project, views, hours=12)
    found = read_labels(project.folder / "labels", ("linear",))
    assert all(
        row["credit_linear"] == pytest.approx(credit.get((1, c, "linear"), 0), abs=1e-6) for c, row in found.items()
    )
    assert list(report["touches"]) == ["click", "video", "view"]
    assert sum(report["touches"][kind]["touches"] for kind in ("view", "video")) == len(views)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "attribution.context_window_hours={vew: 3}",
            "context_window_hours: 'vew' is not the name of a log in sources.context",
        ),
        (
            "attribution.context_window_hours={view: 200}",
            "expected at most the window of clicks, 12, found 200 for 'view'",
        ),
        (
            "attribution.context_window_hours={view: 0}",
            "attribution.context_window_hours.view: expected hours, from 1/3600 (a second)",
        ),
        ("sources.context.0.name=click", "expected a name for the kind of context touch, such as view"),
        ("sources.context.0.name=View 1", "sources.context.0.name: String should match pattern"),
        ("sources.context.0.columns.match_key=[]", "as in context.0.columns.match_key, found 1 and 0"),
        ("sources.context.0.columns.click_id=id", "unknown key 'click_id'; did you mean 'touch_id'?"),
        (
            "sources.context=[]",
            "context_window_hours: 'view' is not the name of a log in sources.context; found there: none",
        ),
        (
            "sources.context.0.columns.user_id=visitor",
            "column 'visitor' of the context table is missing; found columns",
        ),
        ("sources.context.0.files=none*.parquet", "none*.parquet"),
    ],
)
def test_says_what_is_wrong_with_a_context_log(project, override, message):
    with_views(project)
    path = project.write()
    with pytest.raises(MalTfError) as error:
        run.run(load(path, [override]), str(project.folder / "labels"))
    assert message in str(error.value)
    assert not (project.folder / "labels").exists()


def test_clicks_only_without_a_context_log(project):
    path = project.write()
    with pytest.raises(MalTfError, match="mechanism 'last': clicks_only has no effect"):
        load(path, ["attribution.mechanisms.1.clicks_only=true"])


def test_without_context_config_and_outputs_do_not_mention_it(project):
    config = yaml.safe_load(dump(load(project.write())))
    keys = {*config["sources"], *config["attribution"], *config["attribution"]["mechanisms"][0]}
    assert not {"context", "context_window_hours", "clicks_only"} & keys
    report = project.labels()
    assert not {"touches", "context_view"} & report.keys()
    assert "context_only" not in report["conversions"]


def test_a_fit_with_views_is_not_used_without_them_nor_with_another_window(project):
    with_views(project)
    path = project.write()
    project.labels("monday")
    again = ["attribution.fit_from=monday"]
    run.run(load(path, again), str(project.folder / "same"))
    tuesday = [tree(project.folder / name / "Split-eval") for name in ("monday", "same")]
    assert tuesday[0] == tuesday[1]
    for changed in ("attribution.context_window_hours.view=5", "attribution.mechanisms.4.clicks_only=true"):
        with pytest.raises(MalTfError, match=r"mta.json was fitted with context = .*, but this config has"):
            run.run(load(path, [*again, changed]), str(project.folder / "other"))


def test_the_example_of_the_guide_runs_from_the_command_line(project):
    views = with_views(project)
    write_views(project, views)
    page = (ROOT / "docs/attribution.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## Context touches: views\n.*?```yaml\n(.*?)```", page, re.DOTALL)
    example = yaml.safe_load(block)
    project.config["sources"] |= example["sources"]
    project.config["attribution"] = example["attribution"] | {"window_hours": 12}
    project.config["model"]["primary"] = example["model"]["primary"]
    project.config["attribution"]["context_window_hours"] = {"view": 6}
    path = project.write()
    command = [sys.executable, "-m", "pipelines.cli", "labels", path, "--output", str(project.folder / "out")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "400 view touches with a credit of: last_click 0.0, last_touch " in " ".join(ran.stdout.split())
