"""Simulating a market to files, which are its logs, the truth, and the config of a run on them."""

import collections
import contextlib
import datetime
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from features.errors import MalTfError
from features.time_units import SECONDS_PER_DAY
from pipelines.config.run import RunConfig
from pipelines.core import files, locks, manifest
from pipelines.studies.simulation.block import simulate, users_per_block
from pipelines.studies.simulation.config import MarketConfig
from pipelines.studies.simulation.tables import tables
from pipelines.studies.simulation.world import World

#: Number of blocks per file, each a row group; together about half a million clicks.
BLOCKS_PER_FILE = 10

CONFIG = "config.yaml"
LABELLED = ("clicks", "conversions")


def run(
    config: MarketConfig, output: str, overwrite: bool = False, advance: Callable[[dict], object] = lambda rows: None
) -> dict:
    """Simulates a market and writes it to a directory, which is complete if and only if it holds `manifest.json`.

    Args:
        config: config of the market.
        output: local directory to write to.
        overwrite: whether a finished market in `output` may be replaced.
        advance: called after each block with the number of rows so far by table.

    Returns:
        The manifest, with the number of rows by table, the config of the market, and path, rows and bytes of each file.

    Raises:
        MalTfError: the directory is not local, in use or not mal-tf's, or the disk is full.
    """
    if not files.is_local(output):
        raise MalTfError(f"{output}: expected a local directory; write the market there and copy it")
    config_data = run_config(config)
    RunConfig.model_validate(config_data)
    with locks.lock(output):
        return _write(config, config_data, output, overwrite, advance)


def _write(
    config: MarketConfig, config_data: dict, output: str, overwrite: bool, advance: Callable[[dict], object]
) -> dict:
    manifest.begin(output, overwrite)
    folder, world, entries = pathlib.Path(output), World(config), []
    rows: collections.Counter = collections.Counter()
    size = users_per_block(config)
    blocks = range(-(-config.users // size))
    try:
        for number, first in enumerate(blocks[::BLOCKS_PER_FILE]):
            with contextlib.ExitStack() as stack:
                writers = {}
                in_file: collections.Counter = collections.Counter()
                for index in blocks[first : first + BLOCKS_PER_FILE]:
                    block_tables = tables(config, world, index, index * size, simulate(config, world, index))
                    for name, table in block_tables.items():
                        rows[name] += table.num_rows
                        daily = config.daily_logs and name in LABELLED
                        for stem, part in _by_day(config, name, table) if daily else [(name, table)]:
                            if stem not in writers:
                                # Opened here, as pyarrow may take a path of its own for a URI.
                                file = stack.enter_context((folder / f"{stem}-{number:05d}.parquet").open("wb"))
                                writers[stem] = stack.enter_context(pq.ParquetWriter(file, table.schema))
                            writers[stem].write_table(part)
                            in_file[stem] += part.num_rows
                    advance(dict(rows))
            for stem, count in in_file.items():
                name = f"{stem}-{number:05d}.parquet"
                entries += [entry | {"rows": count} for entry in manifest.describe(output, [name])]
    except (OSError, pa.ArrowException) as error:
        raise MalTfError(f"{output}: can't be written: {error}. Free disk space or choose another output.") from error
    files.write_text(str(folder / CONFIG), yaml.safe_dump(config_data, sort_keys=False))
    market = config.model_dump(mode="json")
    contents = {"made_from": made_from(config), "rows": dict(rows), "market": market, "files": entries}
    contents["other_files"] = manifest.describe(output, [CONFIG])
    manifest.finish(output, contents)
    return contents


def made_from(config: MarketConfig) -> str:
    """Returns the fingerprint of a market in its manifest."""
    return manifest.fingerprint("market", config.model_dump(mode="json"))


def _by_day(config: MarketConfig, name: str, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yields the rows of a log by day as `<name>-<date>`, including days without rows, so that each day has a file."""
    starts = config.start_time + np.arange(config.days + 1) * SECONDS_PER_DAY
    bounds = np.searchsorted(table["timestamp"].to_numpy(), starts)
    bounds[-1] = table.num_rows
    for day in range(config.days):
        date = config.start + datetime.timedelta(day)
        yield f"{name}-{date}", table.slice(bounds[day], bounds[day + 1] - bounds[day])


def run_config(config: MarketConfig) -> dict:
    """Returns the config of a run on the market, with labels by product and the last mature clicks for evaluation."""
    categorical = ("industry", "advertiser", "product", "campaign", "channel", "hour", "weekday", "city", "member")
    return {
        "name": config.name,
        "seed": config.seed,
        "sources": {
            "adapter": "tables",
            "time_unit": "s",
            "clicks": {
                "files": "clicks-*.parquet",
                "columns": {
                    "click_id": "click_id",
                    "user_id": "user_id",
                    "timestamp": "timestamp",
                    "match_key": "product",
                    "touchpoint": ["industry", "channel"],
                },
            },
            "conversions": {
                "files": "conversions-*.parquet",
                "columns": {
                    "conversion_id": "conversion_id",
                    "user_id": "user_id",
                    "timestamp": "timestamp",
                    "match_key": "product",
                    "value": "value",
                },
            },
        },
        "features": [
            *({"type": "categorical", "name": name} for name in categorical),
            *({"type": "categorical", "name": name, "dtype": "int64"} for name in ("age", "ad")),
            *({"type": "numeric", "name": name} for name in ("price", "picture_similarity", "text_similarity")),
            {"type": "history", "name": "clicked_products", "of": "product", "length": 20},
            {"type": "history", "name": "clicked_industries", "of": "industry", "length": 20},
            {"type": "history", "name": "clicked_channels", "of": "channel", "length": 20},
            {"type": "history", "name": "bought_products", "of": "product", "events": "conversions", "length": 10},
        ],
        "attribution": {
            "window_hours": config.window_hours,
            "mechanisms": [
                {"name": "first", "type": "first"},
                {"name": "last", "type": "last"},
                {"name": "linear", "type": "linear"},
                {"name": "mta", "type": "shao_li"},
            ],
        },
        "labels": {
            "observed_from": _moment(config, 0),
            "eval_from": _moment(config, config.eval_from_day),
            **({"without_days": [day.isoformat() for day in config.gap]} if config.gap else {}),
            "observed_until": _moment(config, config.days),
        },
        "model": {"name": "mal", "compare_with": ["base"], "primary": "last"},
        "training": {"averaging": {"last_share": 0.25}},
        "evaluation": {
            "slices": ["path_length", "information_gain", "click_age", "user_history", "industry", "known_ad"]
        },
    }


def _moment(config: MarketConfig, day: float) -> str:
    time = config.start_time + round(day * SECONDS_PER_DAY)
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).isoformat()
