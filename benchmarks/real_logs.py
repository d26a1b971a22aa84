"""Compares all attribution mechanisms on three real logs: `python -m benchmarks.real_logs`.

Prints for each log how many clicks each mechanism labels positive relative to last click, as in Table 1 of the MAL paper
(arXiv 2508.15217), from the label job's own report. KuaiRand is in `examples/kuairand`. The OTTO and Criteo logs are not part
of the repository and are read from `DATA`, `../shared/data` beside the repository.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import typer
import yaml

from benchmarks import measure, tables
from benchmarks.measure import ROOT
from benchmarks.tables import Table
from features.errors import MalTfError

DATA = ROOT.parent / "shared" / "data"

#: All built-in mechanisms, with Markov chains of two orders.
MECHANISMS = (
    {"name": "first", "type": "first"},
    {"name": "last", "type": "last"},
    {"name": "linear", "type": "linear"},
    {"name": "position", "type": "position"},
    {"name": "time_decay", "type": "time_decay"},
    {"name": "shao_li", "type": "shao_li"},
    {"name": "shapley", "type": "shapley"},
    {"name": "markov_1", "type": "markov"},
    {"name": "markov_2", "type": "markov", "parameters": {"order": 2}},
    {"name": "attention", "type": "attention"},
)


@dataclasses.dataclass(frozen=True)
class Log:
    """A real log.

    Attributes:
        name: name in the table.
        about: match key, window and touchpoint type, in words.
        make: writes the label job's inputs to a folder and returns the arguments of `mal-tf labels`.
    """

    name: str
    about: str
    make: Callable[[pathlib.Path], list[str]]


def kuairand(folder: pathlib.Path) -> list[str]:
    """Use the example of KuaiRand with all mechanisms; `attention` balances by three features of the user."""
    confounders = ["user_active_degree", "follow_user_num_range", "register_days"]
    overrides = {"attribution.mechanisms": list(MECHANISMS), "attribution.confounders": confounders}
    return [
        str(ROOT / "examples" / "kuairand" / "config.yaml"),
        *(f"--set={key}={json.dumps(value)}" for key, value in overrides.items()),
    ]


def otto(folder: pathlib.Path) -> list[str]:
    """Use OTTO's sessions: clicks and orders of the same article, with a window of a week.

    Clicks have no type of their own, so touchpoint types are made of their position in the journey and their age. The last two
    of four weeks evaluate. The logs end with the sessions, so clicks of the last week are kept, marked as immature.
    """
    table = {"files": str(_data("otto/sessions.jsonl")), "explode": "events"}
    roles = {"user_id": "session", "timestamp": "ts", "match_key": "aid"}
    row = ["session", "aid", "ts"]
    return _config(
        folder,
        sources={
            "time_unit": "ms",
            "clicks": table | {"where": {"type": "clicks"}, "columns": roles | {"click_id": row, "touchpoint": "type"}},
            "conversions": table | {"where": {"type": "orders"}, "columns": roles | {"conversion_id": row}},
        },
        features=["aid"],
        attribution={"window_hours": 168, "touchpoint": {"position": True, "recency_hours": [1, 24]}},
        labels={"eval_from": "2022-08-15T00:00:00+00:00", "immature": "mark"},
    )


def criteo(
    folder: pathlib.Path,
    name: str = "nofeatures",
    touchpoint: Sequence[str] = ("campaign",),
    features: Sequence[str] = ("campaign",),
) -> list[str]:
    """Use Criteo's touches as clicks, with a conversion one second after the last touch of each converting path.

    The log does not distinguish clicks, and has neither times of conversions nor a key, so that some choices are needed:

    - Every touch counts as a click.
    - The match key is the path (`seq_id`). A conversion belongs to one path of its user, and the paths of a user overlap
      in time, mostly within one campaign: by user and campaign, others would get its credit.
    - The window is 30 days, as the longest path takes 29.94.
    - The outcome of each path is known, so all clicks are mature; those after 22 of 31 days evaluate. Times count from the
      start of the log, which is set to 1970.
    - `nofeatures` is used for Table 1: it has 82,312 paths, all campaigns convert, and no day is missing. `with_features`,
      15,795 other paths, is used for the budget replay, as it has costs. In it, campaign 2 never converts and the first days
      are missing. In both files the campaign changes within 4% of the paths, none of them converting, so by campaign the
      mechanisms that use types give the same credit as linear. `cat8` changes within every second path.

    Args:
        folder: directory to write to.
        name: `nofeatures` or `with_features`.
        touchpoint: columns that make the touchpoint type.
        features: categorical columns.
    """
    criteo_tables(criteo_source(name), folder)
    roles = {"user_id": "uid", "timestamp": "timestamp", "match_key": "seq_id"}
    return _config(
        folder,
        sources={
            "time_unit": "s",
            "clicks": {
                "files": "clicks.parquet",
                "columns": roles | {"click_id": ["seq_id", "pos"], "touchpoint": list(touchpoint)},
            },
            "conversions": {"files": "conversions.parquet", "columns": roles | {"conversion_id": "seq_id"}},
        },
        features=features,
        attribution={"window_hours": 720},
        labels={
            "eval_from": "1970-01-23T00:00:00+00:00",
            "observed_until": "1970-03-03T00:00:00+00:00",
            "segment_hours": 240,
        },
    )


def criteo_source(name: str) -> pathlib.Path:
    """Return the path of the file `nofeatures` or `with_features`.

    Raises:
        MalTfError: the file does not exist.
    """
    return _data(f"criteo_attribution/touchpoints_{name}_even_uid.csv.gz")


def criteo_tables(source: pathlib.Path, folder: pathlib.Path, block_bytes: int = 1 << 20) -> None:
    """Write `clicks.parquet` and `conversions.parquet` from the CSV, a block at a time; see `criteo`.

    Args:
        source: CSV whose rows are in the order of path and time.
        folder: directory to write to.
        block_bytes: number of bytes that are read at a time.
    """
    reader = pyarrow.csv.open_csv(source, read_options=pyarrow.csv.ReadOptions(block_size=block_bytes))
    with (
        pq.ParquetWriter(folder / "clicks.parquet", reader.schema) as clicks,
        pq.ParquetWriter(folder / "conversions.parquet", reader.schema) as conversions,
    ):
        held = reader.schema.empty_table()
        for batch in reader:
            clicks.write_batch(batch)
            rows = pa.concat_tables([held, pa.Table.from_batches([batch])]).combine_chunks()
            # Whether a batch's last touch is its path's last is known with the next batch.
            held, path = rows.slice(rows.num_rows - 1), rows["seq_id"]
            ends = pc.not_equal(path[:-1], path[1:])
            conversions.write_table(_conversions(rows.slice(0, rows.num_rows - 1).filter(ends)))
        conversions.write_table(_conversions(held))


def _conversions(last: pa.Table) -> pa.Table:
    last = last.filter(pc.equal(last["conversion"], 1))
    time = last.schema.get_field_index("timestamp")
    return last.set_column(time, "timestamp", pc.add(last["timestamp"], 1))


_CRITEO_FEATURES = ("campaign", *(f"cat{number}" for number in range(1, 10)))

LOGS = {
    "kuairand": Log("KuaiRand", "user, 12 h, tag of the video", kuairand),
    "otto": Log("OTTO", "session and article, 7 days, position × age", otto),
    "criteo": Log("Criteo", "path, 30 days, campaign", criteo),
    "criteo_cat8": Log(
        "Criteo with features",
        "path, 30 days, campaign × cat8",
        lambda folder: criteo(folder, "with_features", ("campaign", "cat8"), _CRITEO_FEATURES),
    ),
}


def _data(path: str) -> pathlib.Path:
    if not (DATA / path).exists():
        raise MalTfError(
            f"{DATA / path} does not exist; the log is not part of the repository, so download it to this path"
        )
    return DATA / path


def _config(folder: pathlib.Path, sources: dict, features: Sequence[str], attribution: dict, labels: dict) -> list[str]:
    config = {
        "name": "real-log",
        "sources": {"adapter": "tables"} | sources,
        "features": [{"type": "categorical", "name": name} for name in features],
        "attribution": attribution | {"mechanisms": list(MECHANISMS)},
        "labels": labels,
        "model": {"name": "base", "primary": "last"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return [str(folder / "config.yaml")]


def label(log: Log) -> dict[str, Any]:
    """Run the label job on a log, through the command line, and return its report."""
    with tempfile.TemporaryDirectory(prefix="mal-tf-real-log-") as temporary:
        folder = pathlib.Path(temporary)
        command = [sys.executable, "-m", "pipelines.cli", "labels", *log.make(folder), "--output", temporary]
        measure.run(command, folder / "output.log")
        return json.loads((folder / "labels" / "label_report.json").read_text())


def ratios(report: dict[str, Any]) -> dict[str, float]:
    """Return the positives of each mechanism over those of last click, over both splits, from a label report."""
    positives = {
        name: sum(split["mechanisms"][name]["positives"] for split in report["splits"].values())
        for name in report["cat_bits"]
    }
    return {name: count / positives["last"] for name, count in positives.items()}


def ratio_table(reports: dict[str, dict]) -> Table:
    """Build the table of ratios, a row per mechanism and a column per log (Table 1 of the MAL paper)."""
    ratios_by_log = [ratios(report) for report in reports.values()]
    return Table(
        title="Positives relative to last click, all clicks",
        columns=["mechanism", *(LOGS[key].name for key in reports)],
        rows=[[m["name"], *(f"{log[m['name']]:.3f}" for log in ratios_by_log)] for m in MECHANISMS],
        note="Data-driven mechanisms were fitted on what happened before the evaluation split.",
    )


def log_table(reports: dict[str, dict]) -> Table:
    """Build the table of the logs: clicks, conversions and mean path length."""
    rows = []
    for key, report in reports.items():
        lengths = {int(length): count for length, count in report["path_lengths"].items()}
        attributed = report["conversions"]["attributed"]
        mean = sum(length * count for length, count in lengths.items()) / attributed
        counts = (report["clicks"]["written"], report["conversions"]["kept"], attributed)
        name = f"{LOGS[key].name}: {LOGS[key].about}"
        rows.append([name, *(f"{count:,}" for count in counts), f"{mean:.2f}"])
    columns = ["log: match key, window, touchpoint", "clicks", "conversions", "attributed", "path length"]
    return Table("The logs", columns, rows, "Path length: eligible clicks per attributed conversion, the mean.")


def main(
    only: Annotated[list[str], typer.Option(help=f"Logs: {', '.join(LOGS)}; all if not given.")] = [],  # noqa: B006
    write: Annotated[
        pathlib.Path | None, typer.Option(help="Only write the tables and config of one log to this directory.")
    ] = None,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
) -> None:
    """Label real logs by all mechanisms."""
    unknown = sorted(set(only) - set(LOGS))
    if unknown:
        raise typer.BadParameter(f"--only {unknown[0]}: expected one of {', '.join(LOGS)}")
    if write:
        if len(only) != 1:
            raise typer.BadParameter("--write: name one log by --only")
        write.mkdir(parents=True, exist_ok=True)
        print(*LOGS[only[0]].make(write))
        return
    console, reports = tables.console(), {}
    for key in only or LOGS:
        with console.status(LOGS[key].name):
            reports[key] = label(LOGS[key])
    tables.report(console, tables.machine(), [log_table(reports), ratio_table(reports)], markdown)


if __name__ == "__main__":
    tables.run(main)
