"""Sessions of the OTTO log with labels that were worked out by hand."""

import pathlib

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "otto"


def of_golden_logs(project):
    """Has a project label the golden sessions; the mechanisms are up to the test."""
    roles = {"user_id": "session", "timestamp": "time_ms", "match_key": "article"}
    project.config["sources"] = {
        "adapter": "tables",
        "time_unit": "ms",
        "clicks": {"files": str(GOLDEN / "clicks.csv"), "columns": roles | {"click_id": "click"}},
        "conversions": {"files": str(GOLDEN / "conversions.csv"), "columns": roles | {"conversion_id": "order"}},
    }
    project.config["features"] = [{"type": "categorical", "name": "article"}]
    project.config["labels"] = {"eval_from": "2022-08-15T00:00:00+00:00", "immature": "mark", "shards": 2}
