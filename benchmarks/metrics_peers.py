"""Compares metrics with other packages: `python -m benchmarks.metrics_peers PREDICTIONS --python PEERS`.

`PREDICTIONS` is a `predictions.parquet` of `mal-tf evaluate`, such as that of `make demo` in `runs/kuairand/evaluate`. `PEERS` is
the Python of an environment with `benchmarks/peers/requirements-metrics.txt`. It may be given more than once, as the packages can
be in several environments.
"""

import json
import pathlib
import tempfile
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import typer

from benchmarks import measure, tables
from benchmarks.measure import ROOT
from benchmarks.tables import Table
from mal_tf.evaluation.metrics import all_metrics, log_loss

#: What was expected before it was run, other than the same value, by package and variant.
EXPECTED = json.loads((pathlib.Path(__file__).parent / "peers" / "metrics_expected.json").read_text(encoding="utf-8"))

TITLES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log-loss",
    "log_loss_zero": "log-loss, 0 for one positive",
    "pcoc": "PCOC",
    "ece": "ECE",
}


def clicks_of(predictions: pathlib.Path, label: str, model: str) -> dict[str, np.ndarray]:
    """Read user codes, labels and predictions of the mature clicks."""
    columns = ["user_id", "mature", f"label_{label}", f"cvr_{model}"]
    rows = pq.read_table(predictions, columns=columns).to_pandas().query("mature == 1")
    user = np.unique(rows["user_id"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    return {
        "user": user,
        "label": rows[f"label_{label}"].to_numpy(np.float32),
        "prediction": rows[f"cvr_{model}"].to_numpy(np.float32),
    }


def metric_table(found: dict[str, list[dict]], own: dict[str, dict[str, float]]) -> Table:
    """Build the table: ours and the packages' values by metric, a column for each label."""
    rows = []
    for metric, title in TITLES.items():
        rows.append([title, "mal-tf", "", "", *(f"{values[metric]:.6f}" for values in own.values())])
        for index, row in enumerate(next(iter(found.values()))):
            if row["metric"] == metric:
                given = [peers[index] for peers in found.values()]
                cells = [f"{peer['value']:.6f}" if "value" in peer else peer["reason"] for peer in given]
                expected = EXPECTED.get(row["package"], {}).get(row["variant"], "the same")
                rows.append(["", f"{row['package']} {row['version']}", row["variant"], expected, *cells])
    return Table("Metrics of one prediction file", ["metric", "package", "variant", "expected", *found], rows, "")


def main(
    predictions: Annotated[pathlib.Path, typer.Argument(help="predictions.parquet of an evaluation.")],
    python: Annotated[list[pathlib.Path], typer.Option(help="Python of an environment with other packages.")],
    labels: Annotated[list[str], typer.Option(help="Mechanisms whose labels to use.")] = ["last", "linear"],  # noqa: B006
    model: Annotated[str, typer.Option(help="Model whose predictions to use.")] = "mal",
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Compare metrics with other packages."""
    found, own, script = {}, {}, str(ROOT / "benchmarks" / "peers" / "metrics.py")
    with tempfile.TemporaryDirectory(prefix="mal-tf-peers-") as temporary:
        folder = pathlib.Path(temporary)
        for label in labels:
            clicks, source, output = clicks_of(predictions, label, model), folder / "clicks.npz", folder / "rows.json"
            np.savez(source, **clicks)
            own[label], seen = all_metrics(**clicks), {}
            positive = (clicks["label"] > 0).argmax()
            with_zero = np.where(np.arange(clicks["label"].size) == positive, np.float32(0), clicks["prediction"])
            own[label]["log_loss_zero"] = log_loss(clicks["label"], with_zero)
            for interpreter in python:
                measure.run([str(interpreter), script, str(source), str(output)], folder / "output.log")
                for row in json.loads(output.read_text(encoding="utf-8")):
                    seen.setdefault((row["package"], row["metric"], row["variant"]), row)
            found[label] = list(seen.values())
    tables.report(tables.console(), tables.machine(), [metric_table(found, own)], markdown)


if __name__ == "__main__":
    tables.run(main)
