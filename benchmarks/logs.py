"""Generates click and conversion logs of any size, with the config that labels them.

`python -m benchmarks.logs FOLDER --clicks 1000000`. The same options, including the seed, give the same rows. The logs
are written chunk by chunk in time order, one file a day, so that memory does not grow with their size.

Users come in sessions, each to one of a few campaigns of the user, so that a conversion often has several eligible clicks.
The probability that a click leads to a conversion depends on its placement, the touchpoint type.
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
import yaml

from features.hashing import INCREMENT, mix64

DAY = 86_400
DAYS = 7
START = 1_700_006_400  # 2023-11-15T00:00:00Z
END = START + DAYS * DAY
WINDOW_HOURS = 24

#: Largest number of clicks that are generated and written at a time, as a Parquet row group.
_CHUNK = 250_000
_CLICKS_PER_USER = 10
_CLICKS_PER_SESSION = 2.5
_CONVERSIONS_PER_CLICK = 0.05
#: Conversion rate of the giant user, a bot that hardly ever buys.
_CONVERSIONS_PER_GIANT_CLICK = 0.001
_CAMPAIGNS, _CAMPAIGNS_PER_USER, _CITIES, _ITEMS = 200, 3, 500, 100_000
#: Share of the clicks of each of the 40 touchpoint types, and its relative conversion rate.
_PLACEMENT_SHARE = np.arange(1, 41) ** -0.7 / (np.arange(1, 41) ** -0.7).sum()
_PLACEMENT_EFFECT = np.random.default_rng(0).permutation(np.linspace(0, 2, 40))
_CLICKS_PER_SHARD = 125_000


@dataclasses.dataclass(frozen=True)
class Logs:
    """Options of generated logs.

    Attributes:
        clicks: number of rows of the click log. There are a tenth as many users, and conversions after about 5% of the clicks.
        skew: share of the clicks that 1% of the users make.
        giant: number of clicks, out of all, of one user called `giant`; 0 for no such user.
        history: whether the config has a history feature.
        shards: number of shards of the label job, by default one per 125,000 clicks.
        seed: seed of all random numbers.
    """

    clicks: int
    skew: float = 0.2
    giant: int = 0
    history: bool = False
    shards: int | None = None
    seed: int = 17

    @property
    def users(self) -> int:
        """The number of users, some of whom may happen to have no click."""
        return max(self.clicks // _CLICKS_PER_USER, 1)


def generate(logs: Logs, folder: pathlib.Path, advance: Callable[[int], object] = lambda clicks: None) -> pathlib.Path:
    """Write `clicks-<date>.parquet`, `conversions-<date>.parquet` and `config.yaml`.

    Args:
        logs: options of the logs.
        folder: directory to write to, which is created if it does not exist.
        advance: called with the number of clicks of each finished chunk.

    Returns:
        Path of the config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chunks_a_day = -(-logs.clicks // (DAYS * _CHUNK))
    chunks = _chunks(logs, DAYS * chunks_a_day)
    for day in range(DAYS):
        date = _moment(START + day * DAY)[:10]
        clicks, conversions = next(chunks)
        with (
            pq.ParquetWriter(folder / f"clicks-{date}.parquet", clicks.schema) as click_file,
            pq.ParquetWriter(folder / f"conversions-{date}.parquet", conversions.schema) as conversion_file,
        ):
            for index in range(chunks_a_day):
                clicks, conversions = next(chunks) if index else (clicks, conversions)
                click_file.write_table(clicks)
                conversion_file.write_table(conversions)
                advance(clicks.num_rows)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config(logs), sort_keys=False), encoding="utf-8")
    return path


def config(logs: Logs) -> dict:
    """Return the config that labels the logs. Every click is mature, and the last day is the evaluation split."""
    history = [{"type": "history", "name": "clicked_items", "of": "item", "length": 10}]
    return {
        "name": "benchmark",
        "sources": {
            "adapter": "tables",
            "time_unit": "s",
            "clicks": {
                "files": "clicks-*.parquet",
                "columns": {
                    "click_id": "id",
                    "user_id": "user",
                    "timestamp": "ts",
                    "match_key": "campaign",
                    "touchpoint": "placement",
                },
            },
            "conversions": {
                "files": "conversions-*.parquet",
                "columns": {"conversion_id": "id", "user_id": "user", "timestamp": "ts", "match_key": "campaign"},
            },
        },
        "features": [
            {"type": "categorical", "name": "campaign"},
            {"type": "categorical", "name": "placement"},
            {"type": "categorical", "name": "city"},
            {"type": "categorical", "name": "item", "dtype": "int64"},
            {"type": "numeric", "name": "price"},
            {"type": "numeric", "name": "quality"},
            *(history if logs.history else []),
        ],
        "attribution": {
            "window_hours": WINDOW_HOURS,
            "mechanisms": [
                {"name": "first", "type": "first"},
                {"name": "last", "type": "last"},
                {"name": "linear", "type": "linear"},
                {"name": "mta", "type": "shao_li"},
            ],
        },
        "labels": {
            "eval_from": _moment(END - DAY),
            "observed_until": _moment(END + WINDOW_HOURS * 3600),
            "shards": logs.shards or max(-(-logs.clicks // _CLICKS_PER_SHARD), 2),
        },
        "model": {"name": "mal", "primary": "last"},
    }


def _moment(time: int) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).isoformat()


def _chunks(logs: Logs, number: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    bounds = np.arange(number + 1) * logs.clicks // number
    giants = np.diff(np.arange(number + 1) * logs.giant // number)
    span = (END - START) // number
    for index in range(number):
        generator = np.random.default_rng([logs.seed, index])
        rows, start = int(bounds[index + 1] - bounds[index]), START + index * span
        yield _chunk(logs, generator, int(bounds[index]), rows, int(giants[index]), start, span)


def _chunk(
    logs: Logs, generator: np.random.Generator, first_id: int, rows: int, giants: int, start: int, span: int
) -> tuple[pa.Table, pa.Table]:
    """Generate the clicks of a period, in time order, and the conversions that they lead to."""
    user, campaign, time = _sessions(logs, generator, rows - giants, start, span)
    user = np.append(user, np.full(giants, logs.users))
    campaign = np.append(campaign, generator.integers(_CAMPAIGNS, size=giants))
    time = np.append(time, start + generator.integers(span, size=giants))
    order = np.argsort(time, kind="stable")
    user, campaign, time = user[order], campaign[order], time[order]
    placement = generator.choice(_PLACEMENT_SHARE.size, rows, p=_PLACEMENT_SHARE)
    users, campaigns = _user_names(user, logs.users), _names("campaign", _CAMPAIGNS).take(pa.array(campaign))
    clicks = {
        "id": pa.array(first_id + np.arange(rows)),
        "user": users,
        "ts": pa.array(time),
        "campaign": campaigns,
        "placement": _names("placement", _PLACEMENT_SHARE.size).take(pa.array(placement)),
        "city": _names("city", _CITIES).take(
            pa.array((_CITIES * generator.random(rows) ** 3).astype(np.int64), mask=generator.random(rows) < 0.02)
        ),
        "item": pa.array((_ITEMS * generator.random(rows) ** 3).astype(np.int64)),
        "price": pa.array(generator.lognormal(3, 1, rows).round(2), mask=generator.random(rows) < 0.03),
        "quality": pa.array(generator.beta(2, 5, rows)),
    }
    rate = _CONVERSIONS_PER_CLICK * _PLACEMENT_EFFECT[placement] / (_PLACEMENT_SHARE @ _PLACEMENT_EFFECT)
    rate = np.where(user == logs.users, _CONVERSIONS_PER_GIANT_CLICK, rate)
    chosen = np.flatnonzero(generator.random(rows) < rate)
    delay = (generator.gamma(2.0, 4 * 3600, chosen.size)).astype(np.int64)
    chosen, delay = (a[np.argsort(time[chosen] + delay, kind="stable")] for a in (chosen, delay))
    conversions = {
        "id": pa.array(first_id + chosen),
        "user": users.take(pa.array(chosen)),
        "ts": pa.array(time[chosen] + delay),
        "campaign": campaigns.take(pa.array(chosen)),
    }
    return pa.table(clicks), pa.table(conversions)


def _sessions(
    logs: Logs, generator: np.random.Generator, rows: int, start: int, span: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, campaign and time of each click; a session has one user and one campaign, and takes an hour or two."""
    lengths = generator.geometric(1 / _CLICKS_PER_SESSION, rows)
    last = np.searchsorted(np.cumsum(lengths), rows) + 1
    lengths = lengths[:last]
    session = np.repeat(np.arange(lengths.size), lengths)[:rows]
    user = _draw_users(logs, generator, lengths.size)
    campaign = _mix(user * _CAMPAIGNS_PER_USER + generator.integers(_CAMPAIGNS_PER_USER, size=user.size)) % _CAMPAIGNS
    passed = np.cumsum(generator.exponential(1800, rows))
    first = np.flatnonzero(np.diff(session, prepend=-1))
    begin = start + generator.integers(span, size=lengths.size)
    time = begin[session] + (passed - passed[first][session]).astype(np.int64)
    return user[session], campaign[session], np.where(time < END, time, 2 * END - 1 - time)


def _draw_users(logs: Logs, generator: np.random.Generator, number: int) -> np.ndarray:
    """Users 0 … 1% make the share `skew`; within both groups the activity falls by a power law."""
    top = max(logs.users // 100, 1)
    place = generator.random(number) ** 1.5
    in_top = generator.random(number) < logs.skew
    rank = np.where(in_top, place * top, top + place * (logs.users - top)).astype(np.int64)
    return np.minimum(rank, logs.users - 1)


def _mix(numbers: np.ndarray) -> np.ndarray:
    """Scatters numbers: non-negative int64."""
    return (mix64(numbers.astype(np.uint64) + INCREMENT) >> np.uint64(1)).astype(np.int64)


def _names(prefix: str, number: int) -> pa.Array:
    return pa.array([f"{prefix}_{index:03d}" for index in range(number)])


def _user_names(user: np.ndarray, giant: int) -> pa.Array:
    distinct, place = np.unique(user, return_inverse=True)
    names = np.char.mod("u%016x", _mix(distinct)).astype(object)
    names[distinct == giant] = "giant"
    return pa.array(names, pa.string()).take(pa.array(place))


def main(
    folder: Annotated[pathlib.Path, typer.Argument(help="Where to write.")],
    clicks: Annotated[int, typer.Option(min=1, help="Rows of the click log.")] = 1_000_000,
    skew: Annotated[float, typer.Option(min=0, max=1, help="Share of the clicks that 1% of the users make.")] = 0.2,
    giant: Annotated[int, typer.Option(min=0, help="Clicks of one user, out of all.")] = 0,
    history: Annotated[bool, typer.Option("--history", help="Configure a history feature.")] = False,
    shards: Annotated[int, typer.Option(min=0, help="Shards of the label job; 0: by the number of clicks.")] = 0,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 17,
) -> None:
    """Write a click log, a conversion log and the config that labels them."""
    if giant > clicks:
        raise typer.BadParameter(f"--giant {giant:,} is more than --clicks {clicks:,}")
    print(generate(Logs(clicks, skew, giant, history, shards or None, seed), folder))


if __name__ == "__main__":
    typer.run(main)
