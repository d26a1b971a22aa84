"""Compares retraining with training once and from scratch, on a drifting market: `python -m benchmarks.retraining_quality`.

- `daily` is warm-started each day from the previous day's model, as `mal-tf retrain` does.
- `once` is the first span's model, never trained again.
- `from scratch` is a new model for each span, trained on all days since the first.

All three predict each span's newest mature day, which none was trained on.
"""

import datetime
import json
import pathlib
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from rich.progress import Progress

from benchmarks import tables
from benchmarks.measure import ROOT
from benchmarks.tables import Table
from mal_tf.evaluation.metrics import all_metrics
from mal_tf.serving import OUTPUT
from pipelines.clicks import labelled
from pipelines.clicks.scoring import score
from pipelines.core import files, manifest
from pipelines.retrain import config as schedules
from pipelines.retrain.run import plan_retraining
from pipelines.retrain.schedule import retrain
from pipelines.retrain.spans import days as all_days
from pipelines.studies.simulation import config as market_config
from pipelines.studies.simulation.run import run as simulate

SCHEDULE = ROOT / "examples" / "retraining" / "market.yaml"
MARKET = ROOT / "examples" / "simulation" / "market.yaml"
DAILY, ONCE, SCRATCH = WAYS = ("daily", "once", "from scratch")
_METRICS = {"auc": "AUC", "log_loss": "log-loss", "pcoc": "PCOC"}

#: Overrides that disable all checks and gates, so that nothing is refused.
_ANY = "{l_infinity: null, new_tokens: null, jensen_shannon: null, presence: null}"
_OPEN = [
    "gates={floors: {}, pcoc: null, allowed_loss: {}}",
    f"checks={{drift: {_ANY}, rows: [0, 100], positives: [0, 100]}}",
    "infra.latency_ms=null",
]


def results_table(metrics_by_way: dict[str, list[dict[str, float]]]) -> Table:
    """Build the table of means over the spans after the first, and of mean paired differences to `daily` with standard errors."""
    columns, rows = [""], []
    for name in _METRICS.values():
        columns += [name, f"− {DAILY}"]
    for way, by_span in metrics_by_way.items():
        cells = [way]
        for key in _METRICS:
            values, base = (np.array([span[key] for span in one[1:]]) for one in (by_span, metrics_by_way[DAILY]))
            error = (values - base).std(ddof=1) / np.sqrt(values.size)
            cells += [f"{values.mean():.4f}", "" if way == DAILY else f"{(values - base).mean():+.4f} ± {error:.4f}"]
        rows.append(cells)
    note = f"Means over {len(metrics_by_way[DAILY]) - 1} spans; ±: standard error over these spans."
    return Table("Quality of the served model on the newest mature day", columns, rows, note)


def figure(judged: list[datetime.date], metrics_by_way: dict[str, list[dict[str, float]]], path: pathlib.Path) -> None:
    """Draw each metric by day."""
    picture, axes = plt.subplots(len(_METRICS), 1, sharex=True, figsize=(7, 7), layout="constrained")
    for axis, (key, name) in zip(axes, _METRICS.items(), strict=True):
        for way, style in zip(metrics_by_way, ("-o", "--s", ":^"), strict=True):
            axis.plot(judged, [span[key] for span in metrics_by_way[way]], style, markersize=3, label=way)
        axis.set_ylabel(name)
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    axes[-1].tick_params("x", rotation=45)
    picture.savefig(path, dpi=120)
    plt.close(picture)


def main(
    folder: Annotated[
        pathlib.Path, typer.Option(help="Directory of the market and all outputs; existing ones are reused.")
    ] = ROOT / "runs" / "quality",
    clicks: Annotated[int, typer.Option(help="Number of clicks of the market.")] = 300_000,
    spans: Annotated[int, typer.Option(min=3, help="Number of spans.")] = 14,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the market.")] = [],  # noqa: B006
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the table to this file.")] = None,
    picture: Annotated[pathlib.Path | None, typer.Option(help="Write the figure to this file.")] = None,
) -> None:
    """Retrain, train once and train from scratch, span by span."""
    machine, shown, folder = tables.machine(), tables.console(), folder.absolute()
    chosen = [f"clicks={clicks}", f"users={clicks // 10}", "window_hours=72", "daily_logs=true", *set_]
    market = market_config.load(str(MARKET), chosen)
    logs = folder / "logs"
    if not (logs / manifest.MANIFEST).exists() or manifest.read(str(logs))["market"] != market.model_dump(mode="json"):
        simulate(market, str(logs), overwrite=True)
    named = [f"run={logs}/config.yaml", f"first_day={market.start}", *_OPEN]
    (daily, run), (scratch, _) = (
        schedules.load(str(SCHEDULE), [*named, f"root={folder / name}"]) for name in ("daily", "scratch")
    )
    begin = market.start + datetime.timedelta(days=10)
    wanted = all_days(begin, begin + datetime.timedelta(days=spans - 1))
    metrics_by_way: dict[str, list[dict]] = {way: [] for way in WAYS}
    judged, once = [], ""
    with Progress(console=shown) as progress:
        for span in progress.track(wanted):
            retrain(daily, run, span, first=not once)
            daily_run, scratch_run = f"{daily.root}/spans/{span}", plan_retraining(scratch, run, span, first=True)
            number = manifest.read(f"{daily_run}/export/{run.model.name}")["result"]["version"]
            model = f"{daily_run}/serving/{run.model.name}/{number}"
            once = once or model
            versions = dict(zip(WAYS, (model, once, scratch_run.export()), strict=True))
            data = labelled.load(f"{daily_run}/labels", run.feature_spec)
            scored = score(run, data, versions, str(folder / "evaluations" / str(span)))
            user = pd.factorize(scored["user_id"], sort=True)[0]
            label = scored[f"label_{run.model.primary}"].to_numpy(np.float64)
            judged.append(scratch_run.plan.judge)
            for way in WAYS:
                metrics_by_way[way].append(all_metrics(user, label, scored[f"{OUTPUT}_{way}"].to_numpy()))
    files.write_text(
        str(folder / "quality.json"), json.dumps({"days": list(map(str, judged)), "models": metrics_by_way}) + "\n"
    )
    if picture:
        figure(judged, metrics_by_way, picture)
    tables.report(shown, machine, [results_table(metrics_by_way)], markdown)


if __name__ == "__main__":
    tables.run(main)
