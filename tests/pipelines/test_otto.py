"""Real shopping sessions in JSON Lines, against counts made by hand in plain Python."""

import pathlib

import pytest

SESSIONS = pathlib.Path(__file__).parents[3] / "shared/data/otto/sessions.jsonl"


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
