"""A click of a finished label job, explained, against what the job wrote and against tables worked out by hand."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.errors import MalTfError
from pipelines.config.run import load
from pipelines.explain.explain import explain
from pipelines.labels.sources import MacSource
from tests.support.labels import HOUR, read_labels
from tests.support.otto import GOLDEN, of_golden_logs
from tests.support.project import DAY, START


def explained(project, click, name="labels", **more):
    return explain(load(str(project.folder / "config.yaml")), str(project.folder / name), str(click), **more)


def test_the_golden_sessions_are_explained_as_they_were_worked_out(project):
    of_golden_logs(project)
    mechanisms = [{"name": name, "type": name} for name in ("first", "last", "linear", "position")]
    mechanisms.append({"name": "linear_24h", "type": "linear", "window_hours": 24})
    project.config["attribution"] = {"window_hours": 168, "mechanisms": mechanisms}
    project.write()
    project.labels()
    expected = pd.read_csv(GOLDEN / "expected.csv", dtype={"order": "Int64"}).set_index("click")
    for click in (
        3,
        4,
        int(expected.index[expected["order"] == 7][0]),
        int(expected.index[expected["order"] == 7][-1]),
    ):
        found = explained(project, click)
        row, own = expected.loc[click], found.journey.clicks[found.place]
        assert (found.differs, found.changed, found.why_not) == ([], False, "")
        assert found.path_length == row["path_length"]
        assert f"{own.timestamp:%Y-%m-%d %H:%M:%S.%f}"[:-3] == row["time_utc"]
        names = [one["name"] for one in mechanisms]
        assert [own.label[name] for name in names] == pytest.approx(row[names].tolist(), abs=1e-6)
        orders = {c.conversion_id: c for c in found.journey.conversions}
        if pd.isna(row["order"]):
            assert all(of[found.place] is None for c in orders.values() for of in c.credit.values())
            continue
        conversion = orders[str(row["order"])]
        for name in names:
            credits = [credit or 0 for credit in conversion.credit[name]]
            ids = [int(c.click_id) for c in found.journey.clicks]
            of_order = expected.loc[ids, name].where(expected.loc[ids, "order"] == row["order"], 0)
            assert credits == pytest.approx(of_order.tolist(), abs=1e-6)
        hours = expected.loc[[int(c.click_id) for c in found.journey.clicks], "hours_before"]
        early = [credit is None for credit in conversion.credit["linear_24h"]]
        assert early == [not hour <= 24 for hour in hours]  # Not eligible, which is something else than a credit of 0.


KINDS = [
    {"name": "last", "type": "last"},
    {"name": "decay", "type": "time_decay", "window_hours": 5},
    {"name": "mta", "type": "shao_li"},
    {"name": "shapley", "type": "shapley", "window_hours": 20},
    {"name": "markov", "type": "markov", "window_hours": 7},
]


@pytest.mark.parametrize("settings", [{}, {"simultaneous": "ineligible", "reset_after_conversion": True}])
def test_every_kind_of_mechanism_gives_what_was_written(project, settings):
    # Events delivered twice, some with other content; conversions at a click's very time, and of two shops.
    generator = np.random.default_rng(5)
    clicks = project.clicks.to_pylist()
    clicks += [clicks[3], clicks[7] | {"price": 1.5}, clicks[9] | {"ts": clicks[9]["ts"] + 60}]
    sales = project.conversions.to_pylist()
    sales += [{k: c[k] for k in ("user", "shop", "ts")} | {"id": f"t{c['id']}"} for c in clicks[:120:3]] + sales[::5]
    project.clicks = pa.Table.from_pylist(clicks, project.clicks.schema).take(generator.permutation(len(clicks)))
    project.conversions = pa.Table.from_pylist(sales, project.conversions.schema)
    project.config["attribution"] |= settings | {"mechanisms": KINDS}
    project.config["attribution"]["touchpoint"] = {"min_count": 150, "position": True}
    project.config["labels"]["max_bad_share"] = 0.05
    project.write()
    project.labels()
    names = [kind["name"] for kind in KINDS]
    written = read_labels(project.folder / "labels", names)
    credited = [click for click in sorted(written) if written[click]["credit_mta"] > 0]
    for click in {*sorted(written)[::150], *credited[:: len(credited) // 4], 3, 7, 9} & set(written):
        found = explained(project, click)
        own = found.journey.clicks[found.place]
        assert found.differs == []
        assert {f"label_{n}": own.label[n] for n in names} == {
            f"label_{n}": written[click][f"label_{n}"] for n in names
        }
        for name in names:
            sums = sum(conversion.credit[name][found.place] or 0 for conversion in found.journey.conversions)
            assert sums == pytest.approx(written[click][f"credit_{name}"], abs=1e-6)
        assert found.cat == sum((own.label[name] > 0) << bit for bit, name in enumerate(names))
        assert found.windows["shapley"] == 20
        times = [c.timestamp for c in found.journey.clicks]
        assert times == sorted(times)


def test_a_click_that_was_not_labelled_is_said_to_be_so(project):
    rows = project.clicks.to_pylist()
    rows += [rows[0] | {"id": 9001, "user": None}, rows[2] | {"id": 9002, "ts": START + 3 * DAY + 60}]
    project.clicks = pa.Table.from_pylist(rows, project.clicks.schema)
    project.config["labels"] |= {"train_from": "2023-11-15T12:00:00+00:00", "without_days": ["2023-11-16"]}
    project.config["labels"] |= {"eval_until": "2023-11-17T06:00:00+00:00"}
    project.write()
    project.labels()

    def first(begin, end):
        return next(row["id"] for row in rows if begin <= row["ts"] - START < end)

    for click, reason in [
        (first(0, 12 * HOUR), "context: before labels.train_from, 2023-11-15 12:00"),
        (first(DAY, 2 * DAY), "context: its day is one of labels.without_days"),
        (first(2 * DAY + 6 * HOUR, 3 * DAY), "context: not before labels.eval_until, 2023-11-17 06:00"),
    ]:
        found = explained(project, click)
        assert (found.split, found.why_not, found.differs) == (None, reason, [])
    for click, message in [
        (9001, r"was not labelled: user_id is null, in row 601 of .*clicks.parquet \(.*dead_letter/\)"),
        (9002, "was not labelled: it is later than labels.observed_until, 2023-11-18 00:00 UTC"),
        ("17x", r"no click '17x' in .*labels or in the click log. An id is made of id, such as '\d+'"),
    ]:
        with pytest.raises(MalTfError, match=message):
            explained(project, click)


def test_an_immature_click_and_an_id_of_several_users(project):
    rows = project.clicks.to_pylist()
    late = next(row["id"] for row in rows if row["ts"] - START > 2.6 * DAY)
    rows += [rows[5] | {"user": "u_other"}, rows[5] | {"user": "u_late", "ts": rows[late]["ts"]}]
    project.clicks = pa.Table.from_pylist(rows, project.clicks.schema)
    project.write()
    project.labels()
    found = explained(project, late)
    assert not found.mature and found.why_not.startswith("immature: its window ends after the logs, 2023-11-18 00:00")
    with pytest.raises(MalTfError, match=r"2 users have a click '5', .*u\d+, u_other. Add --user"):
        explained(project, 5)
    assert explained(project, 5, user_id="u_other").journey.user_id == "u_other"
    assert explained(project, 5, user_id="u_late").why_not.startswith("immature")
    with pytest.raises(MalTfError, match="user 'nobody' has no click '5'"):
        explained(project, 5, user_id="nobody")


def test_what_changed_since_is_said_by_column(project):
    project.write()
    project.labels()
    written = read_labels(project.folder / "labels")
    click = next(click for click in sorted(written) if written[click]["label_last"] == 1)
    owner = project.clicks.slice(click, 1).to_pylist()[0]
    project.conversions = project.conversions.filter(pa.compute.not_equal(project.conversions["user"], owner["user"]))
    project.write()
    found = explained(project, click)
    assert found.changed
    assert {"credit_last", "label_last", "label_cat", "path_length"} <= set(found.differs)
    assert not {"place", "price", "clicked_items", "timestamp"} & set(found.differs)
    project.clicks = project.clicks.filter(pa.compute.not_equal(project.clicks["id"], click))
    project.write()
    with pytest.raises(
        MalTfError, match=f"click '{click}' of user '{owner['user']}' is in .*, but no longer in the click"
    ):
        explained(project, click)


def test_text_ids_of_several_columns(project):
    project.config["sources"]["clicks"]["columns"]["click_id"] = ["shop", "id"]
    project.write()
    project.labels()
    row = project.clicks.slice(40, 1).to_pylist()[0]
    found = explained(project, f"{row['shop']}:{row['id']}")
    own = found.journey.clicks[found.place]
    assert (found.journey.user_id, found.journey.match_key) == (row["user"], (row["shop"],))
    assert own.touchpoint == row["place"] == found.features["place"]
    assert found.differs == []


def test_ready_made_labels_have_no_journeys(project):
    config = load(project.write())
    ready = config.model_copy(update={"sources": MacSource(adapter="mac", folder=str(project.folder))})
    project.labels()
    with pytest.raises(MalTfError, match="adapter 'mac' has ready-made labels: .* no journey to explain"):
        explain(ready, str(project.folder / "labels"), "1")


def test_an_unfinished_label_job_is_named(project):
    config = load(project.write())
    with pytest.raises(MalTfError, match="nowhere: expected a finished label job, found no manifest.json"):
        explain(config, str(project.folder / "nowhere"), "1")
