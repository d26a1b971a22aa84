"""A log of views beside a project's clicks."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.project import DAY, START

COLUMNS = {"touch_id": "id", "user_id": "user", "timestamp": "ts", "match_key": "shop", "touchpoint": "place"}


def with_views(project, hours=6, count=400):
    """Adds a log of views with a window of its own, some at the time of a click, and mechanisms with and without them."""
    generator = np.random.default_rng(3)
    clicks = project.clicks.to_pylist()
    rows = [clicks[place] for place in generator.integers(len(clicks), size=count)]
    times = [
        row["ts"] if drawn < 0.2 else START + int(drawn * 3 * DAY)
        for row, drawn in zip(rows, generator.random(count), strict=True)
    ]
    rows = [
        {"id": f"v{number}", "ts": time} | {column: row[column] for column in ("user", "shop", "place")}
        for number, (row, time) in enumerate(zip(rows, times, strict=True))
    ]
    project.config["sources"]["context"] = [{"name": "view", "files": "views*.parquet", "columns": dict(COLUMNS)}]
    project.config["attribution"] |= {
        "context_window_hours": {"view": hours},
        "mechanisms": [
            {"name": "last", "type": "last"},
            {"name": "linear", "type": "linear"},
            {"name": "last_click", "type": "last", "clicks_only": True},
            {"name": "last_1h", "type": "last", "window_hours": 1},
            {"name": "mta", "type": "shao_li"},
        ],
    }
    write_views(project, rows)
    # Some conversions that follow a view, of which not all have a click.
    sales = [row | {"id": f"s{row['id']}", "ts": row["ts"] + 100} for row in rows[:40] if row["ts"] < START + 2 * DAY]
    sales = pa.Table.from_pylist(sales, project.conversions.schema)
    project.conversions = pa.concat_tables([project.conversions, sales])
    return rows


def write_views(project, rows):
    pq.write_table(pa.Table.from_pylist(rows), project.folder / "views.parquet", row_group_size=150)
