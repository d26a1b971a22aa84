"""Compares attribution with other packages on the same journeys: `python -m benchmarks.attribution_peers --python PEERS`.

`PEERS` is the Python of an environment with `benchmarks/peers/requirements-attribution.txt`:

    python3.11 -m venv peers && peers/bin/pip install -r benchmarks/peers/requirements-attribution.txt

The label job makes the journeys of KuaiRand (`examples/kuairand`, a click's channel is its `tab`) and of the simulated market
(`examples/simulation/market.yaml`, channel) before the evaluation split; those of `tests/golden/attribution/small_paths.json`
are the third log. Differences are between channels' shares of the conversions, in percentage points, or between removal effects.
"""

import json
import pathlib
import sys
import tempfile
from collections.abc import Iterable
from typing import Annotated

import numpy as np
import typer

from benchmarks import measure, tables
from benchmarks.measure import ROOT
from benchmarks.tables import Table
from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.mechanism import DataDrivenMechanism

GOLDEN = ROOT / "tests" / "golden" / "attribution" / "small_paths.json"

#: Ours, by the name that the peers' script gives to a mechanism: type and parameters.
MECHANISMS = {
    "first": ("first", {}),
    "last": ("last", {}),
    "linear": ("linear", {}),
    "position": ("position", {}),
    "time_decay": ("time_decay", {"half_life_hours": 24}),
    "shao_li": ("shao_li", {}),
    "shapley": ("shapley", {}),
    "markov": ("markov", {}),
    "markov of order 2": ("markov", {"order": 2}),
}

#: What was expected of a package's mechanism before it was run, other than equal totals.
EXPECTED = json.loads(
    (pathlib.Path(__file__).parent / "peers" / "attribution_expected.json").read_text(encoding="utf-8")
)


class Recorded(DataDrivenMechanism):
    """Records the journeys that mechanisms are fitted on; gives all credit to nothing."""

    def statistics(self, converting: Journeys, other: Journeys) -> list:
        """Rows of (converted, key, position of the first click, path, hours)."""
        return [
            row
            for converted, journeys in ((1, converting), (0, other))
            for row in zip(
                [converted] * len(journeys),
                journeys.key.tolist(),
                _split(journeys, journeys.click.tolist()),
                _split(journeys, journeys.touchpoints[journeys.touchpoint].tolist()),
                _split(journeys, journeys.age.round(9).tolist()),
                strict=True,
            )
            if row[3]
        ]

    def merge(self, parts: Iterable[list]) -> list:
        """All rows."""
        return [row for part in parts for row in part]

    def fit(self, statistics: list) -> dict:
        """Journeys in an order that does not depend on the parts."""
        rows = sorted((converted, path, hours) for converted, _, _, path, hours in statistics)
        return {
            name: [{"path": path, "hours": hours} for converted, path, hours in rows if converted == wanted]
            for name, wanted in (("converting", 1), ("other", 0))
        }

    def load(self, parameters: dict) -> None:
        """Needs nothing."""

    def credit(self, journeys: Journeys) -> np.ndarray:
        """No credit."""
        return np.zeros(journeys.click.size)


def _split(journeys: Journeys, values: list) -> list[list]:
    ends = journeys.offsets.tolist()
    return [values[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]


def as_journeys(rows: list[dict], channels: list[str]) -> Journeys:
    """Turn recorded journeys into those that mechanisms read."""
    code = {name: i for i, name in enumerate(channels)}
    types = np.array([code[name] for row in rows for name in row["path"]], np.int64)
    ages = np.array([hours for row in rows for hours in row["hours"]], np.float64)
    offsets = np.cumsum([0, *(len(row["path"]) for row in rows)]).astype(np.int64)
    number = len(rows)
    key, confounders = np.arange(number, dtype=np.uint64), np.zeros((number, 0), np.uint64)
    names = np.array(channels, object)
    return Journeys(offsets, np.arange(types.size), types, names, ages, np.ones(number), key, confounders)


def ours(log: dict) -> dict[str, dict[str, float]]:
    """Compute our channel totals by mechanism, and the removal effects of Markov chains."""
    channels = sorted({name for rows in log.values() for row in rows for name in row["path"]})
    converting, other = (as_journeys(log[name], channels) for name in ("converting", "other"))
    found = {}
    for name, (kind, parameters) in MECHANISMS.items():
        mechanism = create(kind, parameters)
        if mechanism.data_driven:
            fit = mechanism.fit(mechanism.merge([mechanism.statistics(converting, other)]))
            mechanism.load(fit)
            if kind == "markov":
                found[f"{name}, removal effect"] = fit["removal_effect"]
        totals = np.bincount(converting.touchpoint, mechanism.credit(converting), len(channels))
        found[name] = dict(zip(channels, totals.tolist(), strict=True))
    distinct = [dict.fromkeys(row["path"], 1 / len(set(row["path"]))) for row in log["converting"]]
    found["linear over distinct types"] = {name: sum(row.get(name, 0.0) for row in distinct) for name in channels}
    return found


def golden() -> dict:
    """Return all paths of the golden cases, a journey for each conversion, with an hour between touches."""
    log: dict = {"converting": [], "other": []}
    for case in json.loads(GOLDEN.read_text(encoding="utf-8")):
        for row in case["paths"]:
            path = row["path"].split(" > ")
            journey = {"path": path, "hours": [float(n) for n in range(len(path), 0, -1)]}
            log["converting"] += [journey] * row["conversions"]
            log["other"] += [{"path": path, "hours": [h - 1 for h in journey["hours"]]}] * row["null"]
    return log


def recorded(config: pathlib.Path, folder: pathlib.Path, *overrides: str) -> dict:
    """Run the label job with `Recorded`, and return the journeys."""
    types = {"last": "last", "linear": "linear", "seen": "benchmarks.attribution_peers:Recorded"}
    mechanisms = [{"name": name, "type": kind} for name, kind in types.items()]
    own = f"--set=attribution.mechanisms={json.dumps(mechanisms)}"
    command = [sys.executable, "-m", "pipelines.cli", "labels", str(config), own, *overrides, f"--output={folder}"]
    measure.run(command, folder / "output.log")
    return json.loads((folder / "labels" / "attribution" / "seen.json").read_text(encoding="utf-8"))["fit"]


def logs(folder: pathlib.Path) -> dict[str, dict]:
    """Make the journeys of the three logs."""
    kuairand, market, raw = (folder / name for name in ("kuairand", "market", "raw"))
    for path in (kuairand, market):
        path.mkdir()
    simulation = str(ROOT / "examples" / "simulation" / "market.yaml")
    measure.run(
        [sys.executable, "-m", "pipelines.cli", "simulate", simulation, f"--output={raw}"], folder / "simulate.log"
    )
    example = ROOT / "examples" / "kuairand" / "config.yaml"
    return {
        "KuaiRand": recorded(example, kuairand, '--set=sources.touchpoint=["tab"]'),
        "market": recorded(raw / "config.yaml", market, '--set=sources.clicks.columns.touchpoint=["channel"]'),
        "golden": golden(),
    }


def difference(mechanism: str, theirs: dict[str, float], own: dict[str, dict[str, float]]) -> float:
    """Return the largest difference of a channel: of removal effects, or of shares in percentage points."""
    base = mechanism.partition(",")[0].removesuffix(" of three")
    mine = own.get(mechanism) or own.get(mechanism.removesuffix(" by default")) or own[base]
    names = mine.keys() | theirs.keys()
    if "removal effect" in mechanism:
        return max(abs(theirs.get(name, 0.0) - mine.get(name, 0.0)) for name in names)
    totals = [sum(values.values()) or 1.0 for values in (theirs, mine)]
    return 100 * max(abs(theirs.get(name, 0.0) / totals[0] - mine.get(name, 0.0) / totals[1]) for name in names)


def difference_table(found: dict[str, list[dict]], own: dict[str, dict]) -> Table:
    """Build the table: a row for each package's mechanism, a column for each log."""
    rows = []
    for index, row in enumerate(next(iter(found.values()))):
        cells = []
        for log, peers in found.items():
            peer = peers[index]
            value = difference(peer["mechanism"], peer["totals"], own[log]) if "totals" in peer else None
            cells.append(peer["reason"] if value is None else "equal" if value < 1e-6 else f"{value:.3g}")
        names = [f"{row['package']} {row['version']}", row["mechanism"]]
        rows.append([*names, EXPECTED[row["package"]].get(row["mechanism"], "equal"), *cells])
    return Table("Differences from mal-tf", ["package", "mechanism", "expected", *found], rows, "")


def channel_table(log: str, peers: list[dict], own: dict[str, dict[str, float]]) -> Table:
    """Build the table of one log's totals by channel, ours and theirs."""
    channels = list(own["last"])
    given = [["mal-tf", name, values] for name, values in own.items()]
    given += [[row["package"], row["mechanism"], row["totals"]] for row in peers if "totals" in row]
    rows = [
        [package, name, *(f"{values.get(channel, 0.0):.4f}" for channel in channels)] for package, name, values in given
    ]
    return Table(f"Channels of {log}", ["package", "mechanism", *channels], rows, "")


def main(
    python: Annotated[pathlib.Path, typer.Option(help="Python of the environment with the other packages.")],
    channels: Annotated[list[str], typer.Option(help="Logs whose totals by channel to show.")] = ["golden"],  # noqa: B006
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
    keep: Annotated[pathlib.Path | None, typer.Option(help="Also write journeys and totals to this directory.")] = None,
) -> None:
    """Compare attribution with other packages."""
    console, found, own = tables.console(), {}, {}
    with tempfile.TemporaryDirectory(prefix="mal-tf-peers-") as temporary:
        folder = keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        made = logs(pathlib.Path(temporary))
        for name, log in made.items():
            source, output = folder / f"{name}.json", folder / f"{name}-totals.json"
            source.write_text(json.dumps(log), encoding="utf-8")
            script = str(ROOT / "benchmarks" / "peers" / "attribution.py")
            with console.status(name):
                measure.run([str(python), script, str(source), str(output)], folder / f"{name}.log")
            found[name], own[name] = json.loads(output.read_text(encoding="utf-8")), ours(log)
    counts = [[name, *(f"{len(log[kind]):,}" for kind in ("converting", "other"))] for name, log in made.items()]
    shown = [Table("Journeys", ["log", "converting", "other"], counts, ""), difference_table(found, own)]
    shown += [channel_table(name, found[name], own[name]) for name in channels]
    tables.report(console, tables.machine(), shown, markdown)


if __name__ == "__main__":
    tables.run(main)
