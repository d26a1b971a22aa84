"""Small files in the shape of the MAC release, with every row known."""

import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support import project

SCALARS = (
    *(f"user_feat{i}" for i in range(6)),
    *(f"ad_feat{i}" for i in range(6)),
    *(f"context_feat{i}" for i in range(4)),
)
HISTORIES = ("ad_feat0_seq", "ad_feat1_seq", "ad_feat2_seq")
SIMILARITIES = ("mm_feat0_seq", "mm_feat1_seq")
LABELS = ("first", "last", "mta", "linear")
LENGTH = 20

CONFIG = {
    "name": "mac",
    "sources": {"adapter": "mac", "folder": "data"},
    "features": [
        *({"type": "categorical", "name": name} for name in SCALARS),
        *({"type": "history", "name": name, "of": name.removesuffix("_seq")} for name in HISTORIES),
        *({"type": "similarity", "name": name} for name in SIMILARITIES),
    ],
    "attribution": {"mechanisms": [{"name": name, "type": "ready"} for name in ("last", "first", "linear", "mta")]},
    "model": {key: value for key, value in project.CONFIG["model"].items() if key != "compare_with"},
    "training": project.CONFIG["training"],
    "evaluation": {"bootstrap_samples": 0},
}


def day(generator: np.random.Generator, rows: int) -> pa.Table:
    """Clicks of a day. Token 9 of each feature is in no vocabulary; `0` fills up the histories."""
    columns = {"user_id": [f"u{u}" for u in generator.integers(20, size=rows)]}
    columns |= {name: generator.integers(1, 10, size=rows).astype(str).tolist() for name in SCALARS}
    known = np.arange(LENGTH) < generator.integers(LENGTH + 1, size=rows)[:, None]
    for name in SIMILARITIES:
        columns[name] = pa.array(np.where(known, generator.uniform(-1, 1, known.shape), 0).astype("f").tolist())
    for name in HISTORIES:
        columns[name] = np.where(known, generator.integers(1, 10, known.shape), 0).astype(str).tolist()
    converted = generator.random(rows) < 0.3
    columns["last"] = np.where(converted, generator.choice([1.0, 2.0], rows), 0.0)
    columns["linear"] = np.where(converted, generator.choice([0.25, 1.5], rows), 0.0)
    columns["mta"] = columns["linear"] * generator.integers(2, size=rows)
    columns["first"] = columns["last"] * generator.integers(2, size=rows)
    return pa.table(columns)


def write(folder: pathlib.Path, days: int = 3, rows: int = 150) -> list[pa.Table]:
    """Writes a release under `folder`; returns the training days and, last, the test day."""
    generator = np.random.default_rng(5)
    tables = [day(generator, rows) for _ in range(days + 1)]
    for name in ("train", "test", "vocabs"):
        (folder / name).mkdir(parents=True)
    for number, table in enumerate(tables):
        path = f"train/train-{number:02d}.parquet" if number < days else "test/test.parquet"
        pq.write_table(table, folder / path, row_group_size=60)
    for name in SCALARS:  # The order of the file is not that of the indices.
        index = {str(token): 8 - token for token in range(8, -1, -1)}
        (folder / f"vocabs/{name}.json").write_text(json.dumps(dict(sorted(index.items()))))
    return tables
