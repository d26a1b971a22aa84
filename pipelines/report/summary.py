"""The first section of the page, with the verdict and key numbers, and the table of several runs side by side."""

from collections.abc import Mapping, Sequence

from mal_tf.evaluation.metrics import Metric, additive_metrics, registered_metrics
from pipelines.core.layout import FAILED, RUN, STAGES
from pipelines.core.text_table import Table
from pipelines.report import text
from pipelines.report.parts import Numbers, Part, Tiles, Verdict, missing
from pipelines.report.run_files import RunFiles
from pipelines.report.sections import comparison, evaluation, gates


def parts(run: RunFiles) -> list[Part]:
    """Build the section."""
    result = evaluation.metrics(run)
    built = [*_failed(run), *_outdated(run), *gates.verdicts(run), *comparison.verdicts(run), *evaluation.verdicts(run)]
    if result:
        name = evaluation.served(run, result)
        served_metrics = result["models"][name]
        intervals = result.get("intervals", {}).get(name, {})
        tiles = [
            (
                metric.title,
                text.metric(metric.name, served_metrics.get(metric.name)),
                _meaning(intervals.get(metric.name), metric),
            )
            for metric in additive_metrics().values()
        ]
        tiles.append(
            (
                "clicks judged",
                text.integer(served_metrics.get("clicks")),
                f"{text.integer(served_metrics.get('positives'))} positive, label {result['target']}",
            )
        )
        built.append(Tiles(tiles, evaluation.SOURCE))
    if not built:
        built.append(missing("Nothing was evaluated or judged yet; see below how far the run came."))
    return built


def _failed(run: RunFiles) -> list[Part]:
    """Return a verdict if the run ended with an error, except for a span of a retraining, whose reasons `gates` shows."""
    if run.plan or not run.has(FAILED):
        return []
    sentence = "The last command on this run ended with an error; stages below may be of an earlier config."
    return [Verdict("worse", sentence, FAILED, run.text(FAILED).strip().splitlines())]


def _outdated(run: RunFiles) -> list[Part]:
    """Return a verdict that names the stages that do not belong to the others."""
    if not run.outdated:
        return []
    sentence = "Stages below are of an earlier config or of earlier inputs than others beside them."
    return [Verdict("worse", sentence, STAGES, [f"{stage}: {reason}" for stage, reason in run.outdated.items()])]


def _meaning(interval: Mapping[str, float | None] | None, metric: Metric) -> str:
    """Describe a metric, after its 95% interval if that is known."""
    if interval and interval.get("low") is not None:
        return f"95%: {text.span(interval, metric.name)}; {metric.summary}"
    return metric.summary


def side_by_side(runs: Sequence[RunFiles], names: Sequence[str]) -> Part:
    """Build the table of key numbers of several runs, with a column for each, headed by `names`."""
    rows: dict[str, list[str]] = {}

    def put(name: str, column: int, value: str) -> None:
        rows.setdefault(name, [text.DASH] * len(runs))[column] = value

    for column, run in enumerate(runs):
        report, result = run.stage_json("labels", "label_report.json"), evaluation.metrics(run)
        if run.outdated:
            put("outdated stages", column, ", ".join(run.outdated))
        put("revision", column, (run.json(RUN).get("git_revision") or text.DASH)[:12])
        if report:
            for split, split_counts in report["splits"].items():
                put(f"clicks, {split}", column, text.integer(split_counts["clicks"]))
        if result:
            name = evaluation.served(run, result)
            put("served model", column, name)
            put("label", column, result["target"])
            for metric in registered_metrics():
                put(text.title(metric), column, text.metric(metric, result["models"][name].get(metric)))
            for other, by_metric in result.get("differences", {}).items():
                for metric, difference in by_metric.items():
                    put(f"Δ {text.title(metric)} to {other}", column, text.with_interval(difference))
        elif judgement := run.stage_json("judge", "judgement.json"):
            put("served model", column, "candidate")
            for metric, value in judgement["all"]["metrics"]["candidate"].items():
                put(text.title(metric), column, text.metric(metric, value))
    note = "In brackets: 95% intervals over users. Compare runs only where they were judged on the same clicks."
    return Numbers(Table("Runs side by side", ["", *names], [[name, *cells] for name, cells in rows.items()], note))
