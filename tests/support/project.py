"""A small project of a user: logs of three days and their config."""

import copy
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

DAY = 86_400


START = 1_700_006_400  # 2023-11-15T00:00:00Z


CONFIG = {
    "name": "small",
    "sources": {
        "adapter": "tables",
        "clicks": {
            "files": "clicks*.parquet",
            "columns": {
                "click_id": "id",
                "user_id": "user",
                "timestamp": "ts",
                "match_key": "shop",
                "touchpoint": "place",
            },
        },
        "conversions": {
            "files": "conversions*.parquet",
            "columns": {"conversion_id": "id", "user_id": "user", "timestamp": "ts", "match_key": "shop"},
        },
        "time_unit": "s",
    },
    "features": [
        {"type": "categorical", "name": "place"},
        {"type": "categorical", "name": "item", "dtype": "int64"},
        {"type": "numeric", "name": "price", "buckets": 4},
        {"type": "history", "name": "clicked_items", "of": "item", "length": 3},
    ],
    "attribution": {
        "window_hours": 12,
        "mechanisms": [
            {"name": "first", "type": "first"},
            {"name": "last", "type": "last"},
            {"name": "linear", "type": "linear"},
            {"name": "mta", "type": "shao_li"},
        ],
    },
    "labels": {
        "eval_from": "2023-11-17T00:00:00+00:00",
        "observed_until": "2023-11-18T00:00:00+00:00",
        "shards": 2,
    },
    "model": {
        "name": "mal",
        "compare_with": ["base"],
        "primary": "last",
        "embedding_dim": 4,
        "bottom_units": [8],
        "tower_units": [4],
        "attention_units": [4],
    },
    "training": {"batch_size": 64},
    "evaluation": {"bootstrap_samples": 20},
}


def make_logs(seed: int = 0, clicks: int = 600, users: int = 40) -> tuple[pa.Table, pa.Table]:
    """Three days of clicks and, after about a fifth of them, conversions within hours."""
    generator = np.random.default_rng(seed)
    user, shop = generator.integers(users, size=clicks), generator.integers(2, size=clicks)
    time = START + generator.integers(3 * DAY, size=clicks)
    table = {
        "id": np.arange(clicks),
        "user": [f"u{u}" for u in user],
        "shop": [f"s{s}" for s in shop],
        "ts": time,
        "place": generator.choice(["top", "side", "feed"], clicks),
        "item": generator.integers(1, 9, size=clicks),
        "price": generator.gamma(2.0, 10.0, size=clicks),
    }
    chosen = np.flatnonzero((generator.random(clicks) < 0.25) & (time < START + 3 * DAY - 20_000))
    conversions = {
        "id": [f"c{c}" for c in chosen],
        "user": [f"u{u}" for u in user[chosen]],
        "shop": [f"s{s}" for s in shop[chosen]],
        "ts": time[chosen] + generator.integers(0, 20_000, size=chosen.size),
    }
    return pa.table(table), pa.table(conversions)


class Project:
    """A folder with logs and a config, as a user would have it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.clicks, self.conversions = make_logs()
        self.config = copy.deepcopy(CONFIG)

    def write(self) -> str:
        """Writes logs and config; returns the config's path."""
        pq.write_table(self.clicks, self.folder / "clicks.parquet", row_group_size=250)
        pq.write_table(self.conversions, self.folder / "conversions.parquet")
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))
        return str(path)

    def labels(self, name: str = "labels") -> dict:
        """Runs the label job into `name` on what is in the folder; returns its report."""
        from pipelines.config.run import load
        from pipelines.labels import run

        return run.run(load(str(self.folder / "config.yaml")), str(self.folder / name))
