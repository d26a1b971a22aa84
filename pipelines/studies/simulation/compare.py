"""Comparison of the mechanisms' credits with the truth: `python -m pipelines.studies.simulation.compare MARKET LABELS`."""

import json
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from pipelines.clicks import labelled
from pipelines.core import files, manifest
from pipelines.labels.finish import REPORT

_TRUTH = ["click_id", "channel", "credit", "credit_among_ads"]


def compare(market: str, labels: str) -> pd.DataFrame:
    """Compares credits with the truth on the mature clicks of converting journeys in both splits.

    Args:
        market: output directory of `mal-tf simulate`.
        labels: output directory of a label job on the market.

    Returns:
        A row per mechanism, and `nothing`, which credits no click, with the number of `clicks`; `error`, the mean of
        |credit_m − credit| per click; `error_shared`, the same for paths of two or more clicks; `error_among_ads`, the mean
        error relative to `credit_among_ads`; `total`, Σ credit_m / Σ credit; and that ratio for the clicks of each channel.
    """
    mechanisms = json.loads(files.read_text(f"{labels}/{REPORT}"))["cat_bits"]
    frame = _labels(labels, mechanisms).merge(_truth(market), on="click_id", validate="one_to_one")
    frame["credit_nothing"] = 0.0
    rows = {}
    for name in (*mechanisms, "nothing"):
        credit = frame[f"credit_{name}"]
        by_channel = credit.groupby(frame["channel"]).sum() / frame.groupby("channel")["credit"].sum()
        rows[name] = {
            "clicks": len(frame),
            "error": (error := np.abs(credit - frame["credit"])).mean(),
            "error_shared": error[frame["path_length"] > 1].mean(),
            "error_among_ads": np.abs(credit - frame["credit_among_ads"]).mean(),
            "total": credit.sum() / frame["credit"].sum(),
            **by_channel,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _truth(market: str) -> pd.DataFrame:
    entries = manifest.read(market, "a simulated market")["files"]
    paths = [f"{market}/{entry['path']}" for entry in entries if entry["path"].startswith("truth-clicks")]
    return pd.concat([pq.read_table(path, columns=_TRUTH).to_pandas() for path in paths], ignore_index=True)


def _labels(labels: str, mechanisms: list[str]) -> pd.DataFrame:
    """Reads the credits of the mature clicks in converting journeys."""
    frame = labelled.load_clicks(labels).frame(
        ["click_id", "path_length", "mature", *(f"credit_{name}" for name in mechanisms)]
    )
    return frame[(frame["path_length"] > 0) & (frame["mature"] == 1)].reset_index(drop=True)


def main(
    market: Annotated[str, typer.Argument(help="Directory of the simulated market.")],
    labels: Annotated[str, typer.Argument(help="Directory of the label job's output: runs/<name>/labels.")],
) -> None:
    """Print the error of each mechanism's credit against the truth."""
    errors = compare(market, labels)
    table = Table("mechanism", *(str(column) for column in errors.columns), title="Credit against the truth")
    for name, row in errors.iterrows():
        table.add_row(str(name), f"{row.iloc[0]:,.0f}", *(f"{value:.3f}" for value in row.iloc[1:]))
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
