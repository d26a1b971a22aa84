"""Compares ways to train on clicks whose conversions may still come: `python -m benchmarks.delayed_feedback`.

Models are trained day by day on a simulated market. At the end of day D, with a window of W days,

- `wait` trains on day D − W, whose labels have become final;
- `ignore` trains on day D with the labels known by then, as if they were final;
- `both copies, unweighted` trains on both in turns, so that every click is trained on twice;
- `delayed feedback` does the same with the weights of `mal_tf.training.delayed_feedback`, whose delay is measured on the days
  that have final labels by then; it starts with the first day for which there are such, and trains on earlier days once;
- `the same, day D last` trains on day D − W first and on day D after it;
- `oracle` trains on day D with its final labels, which are not known in practice.

Each then predicts day D + 1 and is judged by that day's final labels; the first 3·W days are not judged. Every model is one
training that continues from day to day, including its optimiser's state. All start from scratch, so that `wait` has been trained
on W days less than `oracle`. All use the vocabularies of the whole log, and only mechanisms that need no fit.
"""

import datetime
import functools
import json
import pathlib
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer
from rich.progress import Progress

from benchmarks import tables
from benchmarks.measure import ROOT
from benchmarks.tables import Table
from features.keras2 import keras, tf
from mal_tf.evaluation import metrics
from mal_tf.training.assembly import assemble
from mal_tf.training.dataset import batches
from mal_tf.training.delayed_feedback import AsFinal, DelayCurve, DelayedFeedback, Immature
from mal_tf.training.recipe import Recipe
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.config import run as run_config
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.labels import run as labels
from pipelines.studies.simulation import config as market_config
from pipelines.studies.simulation.run import CONFIG, run
from pipelines.train.credit_delay import interleave, measure, select_days

MARKET = str(ROOT / "examples" / "simulation" / "market.yaml")
WAIT, IGNORE, UNWEIGHTED, DELAYED, FRESH_LAST, ORACLE = WAYS = (
    "wait",
    "ignore",
    "both copies, unweighted",
    "delayed feedback",
    "the same, day D last",
    "oracle",
)

#: Overrides of the run. At the default learning rates and so few clicks a day even the oracle's PCOC swings from 0.7 to 2.6.
TRAINING = (
    "training.loss=soft",
    "training.batch_size=256",
    "training.learning_rate=0.0003",
    "training.embedding_learning_rate=0.01",
)

#: Metrics that each day is judged by.
METRICS = {"AUC": metrics.auc, "log-loss": metrics.log_loss, "PCOC": metrics.pcoc}

#: Number of windows that pass before the first day is judged.
_NOT_JUDGED = 3

_EVALUATION_BATCH = 8192


class Days:
    """The days of a market after its first, each with the labels known at its end and with final labels.

    Args:
        config: config of the run on the market's logs, without data-driven mechanisms.
        first: date of day 0, the market's second day.
        count: number of days of the logs from then on.
        folder: directory of the label jobs; finished ones are reused.
        advance: called after each label job.
    """

    def __init__(self, config: RunConfig, first: datetime.date, count: int, folder: str, advance=lambda: None):
        self.window = round(config.attribution.window_hours / 24)
        self.final_days, self._mechanisms, self._first = count - self.window, config.attribution.names, first
        whole = self._job(config, f"{folder}/final", 0, self.final_days - 1, count)
        advance()
        self._clicks_in = whole.clicks_in
        self.vocabularies, self._final = whole.vocabularies, Split.joined(whole.splits["train"], whole.splits["eval"])
        self._known = []
        for day in range(self.final_days):
            job = self._job(config, f"{folder}/known-{day:02d}", day - 1, day, day + 1)
            self._known.append(job.splits["eval"])
            advance()

    def date(self, day: int) -> datetime.date:
        """Return the date of a day, counted from 0."""
        return self._first + datetime.timedelta(day)

    def known(self, day: int) -> Split:
        """Return a day with the labels known at its end."""
        return self._known[day]

    def final(self, day: int) -> Split:
        """Return a day with its final labels."""
        return select_days(self._final, self._first, [self.date(day)])

    @functools.cache  # noqa: B019 - one object that lives as long as the process.
    def curve(self, day: int) -> DelayCurve:
        """Return the delay known at the end of a day, measured on the days whose labels are final then."""
        newest = day - self.window
        early, final = map(self._clicks_in, (self.known(newest), self.final(newest)))
        newest_curve = measure(early, final, self._mechanisms)
        return newest_curve if not newest else newest_curve.merged(self.curve(day - 1))

    def _job(self, config: RunConfig, output: str, begin: int, judged: int, end: int) -> labelled.Labelled:
        data = config.model_dump(mode="json")
        data["labels"] |= {
            "train_from": self._midnight(begin).isoformat(),
            "eval_from": self._midnight(judged).isoformat(),
            "eval_until": self._midnight(judged + 1).isoformat(),
            "observed_until": (self._midnight(end) - datetime.timedelta(seconds=1)).isoformat(),
            "segment_hours": 24,
            "immature": "mark",
        }
        job_config = RunConfig.model_validate(data)
        if not manifest.is_finished(output, labels.made_from(job_config)):
            labels.run(job_config, output, overwrite=True)
        return labelled.load(output, job_config.feature_spec)

    def _midnight(self, day: int) -> datetime.datetime:
        return datetime.datetime.combine(self.date(day), datetime.time(), datetime.timezone.utc)


def at_the_end_of(day: int, way: str, days: Days) -> tuple[Split, Immature | None] | None:
    """Return what a way trains on at the end of a day, and the handling of immature clicks; None if there is nothing yet."""
    matured = day - days.window
    if way == IGNORE:
        return days.known(day), AsFinal()
    if way == ORACLE:
        return days.final(day), None
    if matured < 0:
        return None
    if way == WAIT:
        return days.final(matured), None
    both = (Split.joined if way == FRESH_LAST else interleave)(days.final(matured), days.known(day))
    if way == UNWEIGHTED:
        return both, AsFinal()
    twice = [days.date(other) for other in range(days.window, day + 1)]
    return both, DelayedFeedback(days.curve(day), twice)


def train(config: RunConfig, days: Days, way: str, advance=lambda: None) -> list[dict[str, float]]:
    """Train through all days in one way and return the metrics of each judged day."""
    keras.backend.clear_session()
    spec, size, target = config.feature_spec, config.training.batch_size, config.model.primary
    plan = [at_the_end_of(day, way, days) for day in range(days.final_days - 1)]
    steps = sum(-(-part[0].rows // size) for part in plan if part)
    model, without_prior = config.model.alone(config.model.name), Split([], [])
    recipe = Recipe(spec, days.vocabularies, without_prior, config.targets, model, config.training, config.seed)
    assembly, lookup = assemble(recipe, steps), recipe.lookup
    network, trainer = assembly.network, assembly.trainer
    predict = tf.function(
        lambda rows: tf.sigmoid(network.model(rows, training=False)[network.primary.output]), reduce_retracing=True
    )
    results = []
    for day, part in enumerate(plan):
        if part:
            split, immature = part
            examples = batches(split, spec, lookup, config.targets, size, immature=immature)
            trainer.fit(examples, epochs=1, verbose=0)
        if day >= _NOT_JUDGED * days.window:
            judged = batches(days.final(day + 1), spec, lookup, [target], _EVALUATION_BATCH)
            scored = [(labels[target].numpy(), predict(rows).numpy()) for rows, labels in judged]
            label, prediction = (np.concatenate(column) for column in zip(*scored, strict=True))
            results.append({name: metric(label, prediction) for name, metric in METRICS.items()})
        advance()
    return results


def results_table(results: dict[str, Sequence[dict[str, float]]], title: str) -> Table:
    """Build the table of means over the judged days, and of mean paired differences to `wait` with standard errors."""
    columns, rows = [""], []
    for name in METRICS:
        columns += [name, f"− {WAIT}"]
    for way, days in results.items():
        cells = [way]
        for name in METRICS:
            values, base = (np.array([day[name] for day in way_days]) for way_days in (days, results[WAIT]))
            error = (values - base).std(ddof=1) / np.sqrt(values.size)
            cells += [f"{values.mean():.4f}", "" if way == WAIT else f"{(values - base).mean():+.4f} ± {error:.4f}"]
        rows.append(cells)
    count = len(results[WAIT])
    note = f"Means over {count} days that no model has seen, by their final labels; ±: standard error over these days."
    return Table(title, columns, rows, note)


def delay_table(curve: DelayCurve) -> Table:
    """Build the table of the share of the final credit that is not known at the end of the click's day."""
    rows = []
    for name in curve.final:
        known, final = np.array(curve.known[name]), np.array(curve.final[name])
        parts = [1 - known[part].sum() / final[part].sum() for part in (slice(0, 24), *map(slice, *_SIXTHS))]
        rows.append((name, *(f"{part:.0%}" for part in parts)))
    hours = [f"{begin}–{end} h" for begin, end in zip(*_SIXTHS, strict=True)]
    return Table(
        "Share of the final credit that the end of the day does not know", ("", "all", *hours), rows, "By UTC hour."
    )


_SIXTHS = range(0, 24, 4), range(4, 28, 4)


def main(
    folder: Annotated[
        pathlib.Path, typer.Option(help="Directory of the market and its label jobs; existing ones are reused.")
    ] = ROOT / "runs" / "delayed_feedback",
    clicks: Annotated[int, typer.Option(help="Number of clicks of the market.")] = 450_000,
    days: Annotated[int, typer.Option(help="Number of days of the market.")] = 42,
    model: Annotated[str, typer.Option(help="Architecture.")] = "mal",
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the run.")] = [],  # noqa: B006
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
):
    """Train in all ways and print the tables."""
    machine, shown = tables.machine(), tables.console()
    market = market_config.load(MARKET, [f"clicks={clicks}", f"users={clicks // 10}", f"days={days}"])
    logs = folder / "logs"
    if not (logs / manifest.MANIFEST).exists() or manifest.read(str(logs))["market"] != market.model_dump(mode="json"):
        run(market, str(logs), overwrite=True)
    config = run_config.load(str(logs / CONFIG), [*TRAINING, f"model.name={model}", *set_])
    rules = [
        mechanism for mechanism in config.attribution.mechanisms if mechanism not in config.attribution.data_driven
    ]
    config = config.model_copy(
        update={"attribution": config.attribution.model_copy(update={"mechanisms": tuple(rules)})}
    )
    with Progress(console=shown) as progress:
        total, second = days - round(market.window_hours / 24), market.start + datetime.timedelta(1)
        task = progress.add_task("label jobs", total=total)
        market_days = Days(config, second, days - 1, str(folder), lambda: progress.advance(task))
        metrics_by_way = {}
        for way in WAYS:
            task = progress.add_task(way, total=market_days.final_days - 1)
            metrics_by_way[way] = train(config, market_days, way, lambda task=task: progress.advance(task))
    title = f"{model}, {config.model.primary}: {clicks:,} clicks in {days} days, window {market_days.window} days"
    results = [results_table(metrics_by_way, title), delay_table(market_days.curve(market_days.final_days - 1))]
    files.write_text(str(folder / "days.json"), json.dumps(metrics_by_way, indent=1) + "\n")
    tables.report(shown, machine, results, markdown)


if __name__ == "__main__":
    tables.run(main)
