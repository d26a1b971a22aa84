"""Real shopping sessions, against a golden table that was worked out and is to be read by hand."""

import pathlib

import pandas as pd
import pytest

from tests.support.labels import read_examples
from tests.support.otto import GOLDEN, of_golden_logs

SESSIONS = pathlib.Path(__file__).parents[5] / "shared/data/otto/sessions.jsonl"


@pytest.mark.skipif(not SESSIONS.exists(), reason="needs ../shared/data/otto")
def test_orders_are_attributed_to_clicks_on_the_same_article(project):
    table = {"files": str(SESSIONS), "explode": "events"}
    roles = {"user_id": "session", "timestamp": "ts", "match_key": "aid"}
    project.config["sources"] = {
        "adapter": "tables",
        "time_unit": "ms",
        "clicks": table
        | {
            "where": {"type": "clicks"},
            "columns": roles | {"click_id": ["session", "aid", "ts"], "touchpoint": "type"},
        },
        "conversions": table
        | {"where": {"type": "orders"}, "columns": roles | {"conversion_id": ["session", "aid", "ts"]}},
    }
    project.config["features"] = [
        {"type": "categorical", "name": "aid"},
        {"type": "history", "name": "clicked", "of": "aid"},
    ]
    project.config["attribution"]["window_hours"] = 168
    project.config["labels"] = {"eval_from": "2022-08-15T00:00:00+00:00", "immature": "mark", "shards": 2}
    project.write()
    report = project.labels()
    assert report["clicks"]["written"] == 800
    assert report["conversions"]["attributed"] == 7
    assert report["conversions"]["without_click"] == 3
    assert sum(n for length, n in report["path_lengths"].items() if int(length) > 1) == 5


def test_credits_and_labels_are_those_of_the_golden_table(project):
    of_golden_logs(project)
    project.config["attribution"] = {
        "window_hours": 168,
        "mechanisms": [
            {"name": "first", "type": "first"},
            {"name": "last", "type": "last"},
            {"name": "linear", "type": "linear"},
            {"name": "position", "type": "position"},
            {"name": "linear_24h", "type": "linear", "window_hours": 24},
            {"name": "time_decay", "type": "time_decay", "parameters": {"half_life_hours": 12}},
        ],
    }
    project.write()
    report = project.labels()
    assert (report["conversions"]["attributed"], report["conversions"]["without_click"]) == (7, 3)

    expected = pd.read_csv(GOLDEN / "expected.csv").set_index("click")
    names = list(expected.columns[expected.columns.get_loc("first") :])
    assert names == list(report["cat_bits"])
    fractions = [f"{kind}_{name}" for kind in ("credit", "label") for name in names]
    found = read_examples(project.folder / "labels", ["path_length"], fractions, ["click_id"])
    found = found.set_index(found.pop("click_id").astype(int)).sort_index()
    assert found.index.tolist() == expected.index.tolist()
    assert found["path_length"].tolist() == expected["path_length"].tolist()
    for name in names:
        for kind in ("credit", "label"):
            assert found[f"{kind}_{name}"].tolist() == pytest.approx(expected[name].tolist(), abs=1e-6), name
