"""Section on the evaluation: metrics under every mechanism's label, and differences with their intervals."""

from collections.abc import Iterator, Mapping
from typing import Any

from mal_tf.evaluation.judgement import has_direction, reading
from mal_tf.evaluation.metrics import HIGHER, additive_metrics, registered_metrics
from pipelines.core.layout import BENCHMARK
from pipelines.core.text_table import Table
from pipelines.evaluate.results import too_few_resamples
from pipelines.report import plots, text
from pipelines.report.parts import Folded, Numbers, Part, Picture, Reading, Text, Verdict, missing
from pipelines.report.run_files import RunFiles

SOURCE = "evaluate/metrics.json"


def metrics(run: RunFiles) -> dict[str, Any] | None:
    """Return the content of `metrics.json`; None if the evaluation is not finished."""
    return run.stage_json("evaluate", "metrics.json")


def served(run: RunFiles, result: Mapping[str, Any]) -> str:
    """Return the name of the model that the others are compared with."""
    return result.get("served") or (run.config.get("model") or {}).get("name") or next(iter(result["models"]))


def verdicts(run: RunFiles) -> list[Part]:
    """Build a verdict on the served model against each of the others."""
    result = metrics(run)
    if result is None or not result.get("differences"):
        return []
    name = served(run, result)
    return [_verdict(name, other, by_metric) for other, by_metric in result["differences"].items()]


def _verdict(name: str, other: str, by_metric: Mapping[str, Mapping[str, Any]]) -> Part:
    judged = {metric: one for metric, one in by_metric.items() if has_direction(metric)}
    readings = {text.title(metric): reading(metric, one) for metric, one in judged.items()}
    by_side = {
        side: [metric for metric, answer in readings.items() if answer == (side, True)] for side in ("better", "worse")
    }
    phrases = [f"{side} in {' and '.join(names)}" for side, names in by_side.items() if names]
    doubtful = [metric for metric, (_, sure) in readings.items() if not sure]
    too_few_users = [text.title(metric) for metric, one in judged.items() if one.get("low") is None]
    undecided = [
        metric
        for metric, answer in readings.items()
        if (answer[0] == "open" or not answer[1]) and metric not in too_few_users
    ]
    if phrases:
        sentence = f"{name} against {other}: {', '.join(phrases)}" + (
            f"; no difference shown in {' and '.join(undecided)}" if undecided else ""
        )
    else:
        sentence = f"{name} against {other}: no difference shown" + (
            f" in {' and '.join(undecided)}" if too_few_users and undecided else ""
        )
    if too_few_users:
        sentence += f"; too few users to tell in {' and '.join(too_few_users)}"
    if doubtful:
        sentence += f" (in {' and '.join(doubtful)} not after the correction for many comparisons)"
    side: Reading = (
        "open" if all(by_side.values()) or not any(by_side.values()) else "better" if by_side["better"] else "worse"
    )
    facts = [f"{text.title(metric)} {text.with_interval(one)}" for metric, one in by_metric.items()]
    if sentence_of_power := text.power(by_metric):
        facts.append(sentence_of_power)
    return Verdict(side, f"{sentence}.", SOURCE, facts)


def parts(run: RunFiles) -> list[Part]:
    """Build the section."""
    result = metrics(run)
    if result is None:
        elsewhere = run.plan or run.has(BENCHMARK)  # A span's candidate is judged, a comparison has its own metrics.
        return [] if elsewhere else [missing("The models were not evaluated.")]
    name = served(run, result)
    labels = result.get("labels") or {
        result["target"]: {"models": result["models"], "differences": result.get("differences", {})}
    }
    labels = {label: labels[label] for label in sorted(labels, key=lambda label: label != result["target"])}
    built: list[Part] = [_table(result, labels), *_intervals(labels)]
    if any(label_result.get("differences") for label_result in labels.values()):
        built += [
            *_forests(result, labels, name),
            Folded(f"All differences of {name}, as a table", [_differences(result, labels, name)]),
        ]
    if not result.get("labels"):
        built.append(missing("Labels of the other mechanisms: this run was evaluated by an earlier version of mal-tf."))
    if multiplicity := result.get("multiplicity"):
        note = f"{multiplicity.get('family', '')}. {multiplicity.get('comparisons', '?')} comparisons.{too_few_resamples(result)}"
        built.append(Text(note, SOURCE))
    return built


def _table(result: Mapping[str, Any], labels: Mapping[str, Any]) -> Part:
    rows = []
    for label, label_result in labels.items():
        for model, values in label_result["models"].items():
            counts = [text.integer(values.get(key)) for key in ("clicks", "positives")]
            numbers = [text.metric(metric, values.get(metric)) for metric in registered_metrics()]
            rows.append([f"{label}: {model}", *counts, *numbers])
    meanings = "; ".join(f"{metric.title}: {metric.summary}" for metric in registered_metrics().values())
    note = (
        f"{meanings}. The models predict {result['target']}; rows of other labels ask how well that ranks what another "
        "mechanism calls a conversion."
    )
    title = f"Metrics of the {result.get('split', 'eval')} split, by label and model"
    return Numbers(
        Table(title, ["label: model", "clicks", "positives", *map(text.title, registered_metrics())], rows, note),
        SOURCE,
    )


def _intervals(labels: Mapping[str, Any]) -> Iterator[Part]:
    """Yield a table of intervals; nothing without resamples, or if an earlier version of mal-tf evaluated the run."""
    rows = [
        [f"{label}: {model}", *(text.span(intervals.get(metric, {}), metric) for metric in additive_metrics())]
        for label, label_result in labels.items()
        for model, intervals in label_result.get("intervals", {}).items()
    ]
    if rows:
        columns = ["label: model", *map(text.title, additive_metrics())]
        note = "Bootstrap over users; a dash where few users carry the metric. Models may differ where theirs overlap: see below."
        yield Numbers(Table("95% intervals of the metrics", columns, rows, note), SOURCE)


def _differences(result: Mapping[str, Any], labels: Mapping[str, Any], name: str) -> Part:
    rows = [
        [
            f"{label}: minus {other}",
            text.title(metric),
            text.difference(one.get("difference")),
            text.interval(one),
            text.general(one.get("p")),
            text.general(one.get("adjusted_p")),
            _words(metric, one),
        ]
        for label, other, metric, one in _each(labels)
    ]
    columns = [f"label: {name}", "metric", "difference", "95% interval", "p", "p, corrected", f"{name} is"]
    resampled = result.get("bootstrap") or {}
    how = (
        f", {resampled['samples']:,} resamples of {resampled.get('unit', 'user')}s" if resampled.get("samples") else ""
    )
    note = (
        f"Paired bootstrap over users{how}. Positive: {name} has more. An interval that holds 0 shows no difference. "
        "*: not after the correction for many comparisons."
    )
    return Numbers(Table(f"{name} minus each other model", columns, rows, note), SOURCE)


def _words(metric: str, difference: Mapping[str, Any]) -> str:
    if not has_direction(metric):
        return text.DASH
    side, sure = reading(metric, difference)
    return {"better": "▲ better", "worse": "▼ worse", "open": "◇ not shown to differ"}[side] + ("" if sure else " *")


def _each(labels: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    for label, label_result in labels.items():
        for other, by_metric in label_result.get("differences", {}).items():
            yield from (
                (label, other, metric, one) for metric, one in by_metric.items() if metric in registered_metrics()
            )


def _forests(result: Mapping[str, Any], labels: Mapping[str, Any], name: str) -> Iterator[Part]:
    target = result["target"]
    for metric in dict.fromkeys(metric for *_, metric, _ in _each(labels)):
        rows = [
            (f"{label} label" + (" (primary)" if label == target else ""), label_rows)
            for label in labels
            if (
                label_rows := {
                    f"minus {other}": by_metric[metric]
                    for other, by_metric in labels[label].get("differences", {}).items()
                    if metric in by_metric
                }
            )
        ]
        printed, best = text.title(metric), registered_metrics()[metric].better
        better = f"{name} is better" if best == HIGHER else ""
        if has_direction(metric):
            reads = f"{'Right' if best == HIGHER else 'Left'} of 0 {name} is better."
        else:
            reads = f"{printed} has no better side: {best:g} is best."
        shown = "; ".join(
            f"{row}: {series} {text.with_interval(one)}" for row, intervals in rows for series, one in intervals.items()
        )
        yield Picture(
            plots.forest(rows, f"Δ {printed}", better),
            f"{printed}: {name} minus the others",
            f"Differences in {printed}. {shown}",
            f"With 95% intervals over users; {text.HOLLOW}. {reads}",
            SOURCE,
        )
