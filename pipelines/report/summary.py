"""The head of the page: the verdict, key numbers, and several runs side by side."""

from collections.abc import Mapping, Sequence

from mal_tf.evaluation.metrics import Metric, additive_metrics, registered_metrics
from pipelines.core.provenance import FAILED
from pipelines.core.text_table import Table
from pipelines.report import text
from pipelines.report.parts import Numbers, Part, Tiles, Verdict, missing
from pipelines.report.run_files import RunFiles
from pipelines.report.sections import comparison, evaluation, gates


def parts(run: RunFiles) -> list[Part]:
    """The section."""
    result = evaluation.metrics(run)
    built = [*_failed(run), *gates.verdicts(run), *comparison.verdicts(run), *evaluation.verdicts(run)]
    if result:
        name = evaluation.served(run, result)
        mine = result["models"][name]
        intervals = result.get("intervals", {}).get(name, {})
        tiles = [
            (
                metric.title,
                text.metric(metric.name, mine.get(metric.name)),
                _meaning(intervals.get(metric.name), metric),
            )
            for metric in additive_metrics().values()
        ]
        tiles.append(
            (
                "clicks judged",
                text.integer(mine.get("clicks")),
                f"{text.integer(mine.get('positives'))} positive, label {result['target']}",
            )
        )
        built.append(Tiles(tiles, evaluation.SOURCE))
    if not built:
        built.append(missing("Nothing was evaluated or judged yet; see below how far the run came."))
    return built


def _failed(run: RunFiles) -> list[Part]:
    """That the run ended with an error; a span of a retraining has reasons of its own."""
    if run.plan or not run.has(FAILED):
        return []
    said = "The last command on this run ended with an error; stages below may be of an earlier config."
    return [Verdict("worse", said, FAILED, run.text(FAILED).strip().splitlines())]


def _meaning(interval: Mapping[str, float | None] | None, metric: Metric) -> str:
    """What a metric means, after its 95% interval if that is known."""
    if interval and interval.get("low") is not None:
        return f"95%: {text.span(interval, metric.name)}; {metric.summary}"
    return metric.summary


def side_by_side(runs: Sequence[RunFiles], names: Sequence[str]) -> Part:
    """Key numbers of several runs, a column each, called `names`."""
    rows: dict[str, list[str]] = {}

    def put(name: str, place: int, value: str) -> None:
        rows.setdefault(name, [text.DASH] * len(runs))[place] = value

    for place, run in enumerate(runs):
        report, result = run.stage_json("labels", "label_report.json"), evaluation.metrics(run)
        put("revision", place, (run.json("run.json").get("git_revision") or text.DASH)[:12])
        if report:
            for split, split_counts in report["splits"].items():
                put(f"clicks, {split}", place, text.integer(split_counts["clicks"]))
        if result:
            name = evaluation.served(run, result)
            put("served model", place, name)
            put("label", place, result["target"])
            for metric in registered_metrics():
                put(text.title(metric), place, text.metric(metric, result["models"][name].get(metric)))
            for other, by_metric in result.get("differences", {}).items():
                for metric, one in by_metric.items():
                    put(f"Δ {text.title(metric)} to {other}", place, text.with_interval(one))
        elif judged := run.stage_json("judge", "judgement.json"):
            put("served model", place, "candidate")
            for metric, value in judged["all"]["metrics"]["candidate"].items():
                put(text.title(metric), place, text.metric(metric, value))
    note = "In brackets: 95% intervals over users. Compare runs only where they were judged on the same clicks."
    return Numbers(Table("Runs side by side", ["", *names], [[name, *cells] for name, cells in rows.items()], note))
