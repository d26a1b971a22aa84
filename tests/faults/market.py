"""A simulated market whose logs arrive day by day, right or spoilt."""

import datetime
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from pipelines.studies.simulation.config import load
from pipelines.studies.simulation.run import CONFIG
from tests.support.source_tree import ROOT

#: Day of the first span: seven days train, so that each weekday is among them, and the next one judges.
FIRST_SPAN = 8

#: More conversions than the example has, so that few clicks tell a good model from a bad one.
_CONVERSIONS = 4

#: Features of the model; fewer than the market has, so that a run is short. With the hour, as a span's training ends with the
#: night's clicks; without the weekday, as it sees but one.
_FEATURES = ("industry", "channel", "product", "hour", "member", "price", "clicked_industries", "bought_products")

_SECONDS = 86_400

#: Makes a table of another one.
Spoilt = Callable[[pa.Table], pa.Table]


class Market:
    """Logs of some days; a day's come to `logs` when they arrive.

    Attributes:
        first_day: of the logs.
        logs: directory that retraining reads.
    """

    def __init__(self, directory: pathlib.Path, days: int, clicks_per_day: int):
        """Simulates the market; the logs of the days before the first span's have arrived."""
        directory.mkdir(parents=True, exist_ok=True)
        self._all, self.logs = directory / "all", directory / "logs"
        config = yaml.safe_load((ROOT / "examples/simulation/market.yaml").read_text())
        for industry in config["industries"]:
            for key in ("conversions_per_click", "conversions_per_interest"):
                industry[key] *= _CONVERSIONS
        config |= {"days": days, "clicks": days * clicks_per_day, "users": 2 * clicks_per_day, "present_at_start": 1.0}
        config |= {"window_hours": 24, "daily_logs": True}
        path = directory / "market.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        self.first_day = load(str(path)).start
        command = [
            sys.executable,
            "-m",
            "pipelines.cli",
            "simulate",
            str(path),
            "--output",
            str(self._all),
            "--overwrite",
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir()
        run = yaml.safe_load((self._all / CONFIG).read_text())
        run["features"] = [feature for feature in run["features"] if feature["name"] in _FEATURES]
        del run["evaluation"]  # Its slices are by the others.
        (self.logs / CONFIG).write_text(yaml.safe_dump(run, sort_keys=False))
        for number in range(FIRST_SPAN):
            self.arrive(self.day(number))

    def day(self, number: int) -> datetime.date:
        """A day, counted from 0."""
        return self.first_day + datetime.timedelta(days=number)

    def arrive(self, day: datetime.date, *, clicks: Spoilt | None = None, conversions: Spoilt | None = None) -> None:
        """Brings a day's logs, in the place of what is there of them; spoilt, if it is said how."""
        for name, spoil in (("clicks", clicks), ("conversions", conversions)):
            for path in self._all.glob(f"{name}-{day}-*.parquet"):
                table = pq.read_table(path)
                pq.write_table(spoil(table) if spoil else table, self.logs / path.name)

    def take_away(self, table: str, day: datetime.date) -> None:
        """Removes a day's log of a table."""
        for path in self.logs.glob(f"{table}-{day}-*.parquet"):
            path.unlink()

    def clicks(self, day: datetime.date) -> pa.Table:
        """A day's clicks, as they are."""
        return pa.concat_tables(pq.read_table(path) for path in sorted(self._all.glob(f"clicks-{day}-*.parquet")))


def random_credit(clicks: pa.Table, seed: int = 0) -> Spoilt:
    """Gives a day's conversions to random clicks of that day, a minute after the click: labels tell nothing."""

    def spoil(conversions: pa.Table) -> pa.Table:
        rows = np.random.default_rng(seed).integers(clicks.num_rows, size=conversions.num_rows)
        chosen = clicks.take(rows)
        for name in ("user_id", "product", "advertiser"):
            conversions = _replaced(conversions, name, chosen[name])
        seconds = chosen["timestamp"].to_numpy()
        until = (seconds // _SECONDS + 1) * _SECONDS - 1
        return _replaced(conversions, "timestamp", pa.array(np.minimum(seconds + 60, until))).sort_by("timestamp")

    return spoil


def without_channel(clicks: pa.Table) -> pa.Table:
    """Clicks whose column `channel` is not there."""
    return clicks.drop(["channel"])


def price_as_text(clicks: pa.Table) -> pa.Table:
    """Clicks whose price is text, with a currency."""
    text = pc.binary_join_element_wise(pc.cast(clicks["price"], pa.string()), "EUR", " ")
    return _replaced(clicks, "price", text)


def price_in_cents(clicks: pa.Table) -> pa.Table:
    """Clicks whose price is a hundred times what it was."""
    return _replaced(clicks, "price", pc.cast(pc.multiply(clicks["price"], 100), clicks["price"].type))


def _replaced(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
