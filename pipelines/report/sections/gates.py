"""Section on the gates of a retraining: anomalies, judgement, blessing and push of the candidate."""

from collections.abc import Mapping, Sequence
from typing import Any

from mal_tf.evaluation.metrics import HIGHER, LOWER, Auc, additive_metrics
from pipelines.core.layout import PLAN, PUSHED
from pipelines.core.text_table import Table
from pipelines.report import plots, text
from pipelines.report.parts import Folded, Items, Numbers, Part, Picture, Verdict, missing
from pipelines.report.run_files import RunFiles
from pipelines.report.sections import data

SOURCE = "judge/judgement.json"

#: Largest number of slices in the figure, those with the most positives.
_DRAWN = 12


def verdicts(run: RunFiles) -> list[Part]:
    """Build the verdict on the candidate: whether it was pushed, or why not."""
    plan = run.plan
    if plan is None:
        return []
    span = plan["span"]
    if run.has(PUSHED):
        sentence = f"Span {span} was pushed, as version {run.json(PUSHED)['version']}."
        return [Verdict("better", sentence, f"{PUSHED}, {SOURCE}", _facts(run))]
    if anomalies := data.anomalies(run):
        return [
            Verdict("worse", f"Span {span} was refused: anomalies in the data. Nothing was trained."),
            Items("Anomalies", anomalies, data.source(run)),
        ]
    if not run.finished("bless"):
        return [Verdict("open", f"Span {span} is not finished. What serves is as it was.", PLAN)]
    if reasons := run.json("bless/reason.json")["reasons"]:
        sentence = f"Span {span} was refused: the candidate is not blessed."
        return [Verdict("worse", sentence, SOURCE, _facts(run)), Items("Reasons", reasons, "bless/reason.json")]
    why = "another model serves meanwhile" if run.finished("infra") else "the infra check failed, or was cut short"
    sentence = f"Span {span} was blessed but not pushed: {why}. What serves is as it was."
    return [Verdict("open", sentence, f"bless/reason.json, {SOURCE}", _facts(run))]


def _facts(run: RunFiles) -> list[str]:
    """Return the candidate's metrics beside those of the serving model, a line each."""
    judgement = run.stage_json("judge", "judgement.json")
    metrics = judgement["all"]["metrics"] if judgement else {"candidate": {}}
    blessed = metrics.get("blessed", {})
    return [
        f"{text.title(metric)} {text.metric(metric, value)}"
        + (f" (what serves: {text.metric(metric, blessed[metric])})" if metric in blessed else "")
        for metric, value in metrics["candidate"].items()
    ]


def parts(run: RunFiles) -> list[Part]:
    """Build the section; no parts if the run is no span of a retraining."""
    if run.plan is None:
        return []
    judgement = run.stage_json("judge", "judgement.json")
    if judgement is None:
        return [missing("The candidate was not judged.")]
    built = [_table(judgement["all"])]
    if judgement["slices"] and any(one["losses"] for one in judgement["slices"]):
        built.append(_slices(judgement["slices"]))
    if judgement["notes"]:
        built.append(
            Folded(
                f"What could not be judged ({len(judgement['notes'])})", [Items("Notes", judgement["notes"], SOURCE)]
            )
        )
    return built


def _table(whole: Mapping[str, Any]) -> Part:
    candidate, blessed = whole["metrics"]["candidate"], whole["metrics"].get("blessed", {})
    rows = []
    for metric, value in candidate.items():
        loss = whole["losses"].get(metric, {})
        cells = [text.title(metric), text.metric(metric, value), text.metric(metric, blessed.get(metric))]
        rows.append([*cells, text.difference(loss.get("difference")), text.interval(loss)])
    worse: dict[str | float, str] = {HIGHER: "{} lower", LOWER: "{} higher"}
    ways = ", ".join(
        worse.get(metric.better, f"|{{}} − {metric.better}| higher").format(metric.title)
        for metric in additive_metrics().values()
    )
    note = (
        f"Worse by: positive is worse than what serves; {ways}. Intervals: paired bootstrap over users, 95%. "
        f"{whole['clicks']:,} clicks, {whole['positives']:,} positives."
        + ("" if whole["losses"] else " A first run is held against floors alone.")
    )
    columns = ["metric", "candidate", "what serves", "worse by", "95% interval"]
    return Numbers(
        Table("The candidate against the model that serves, on the day that judges", columns, rows, note), SOURCE
    )


def _slices(slices: Sequence[Mapping[str, Any]]) -> Part:
    def name(one: Mapping[str, Any]) -> str:
        return f"{one['by']} = {one['name']} ({one['positives']:,} positives)"

    rows = [
        [
            name(one),
            text.integer(one["clicks"]),
            text.number(one["metrics"]["candidate"].get(Auc.name)),
            text.difference(one["losses"].get(Auc.name, {}).get("difference")),
            text.interval(one["losses"].get(Auc.name, {})),
        ]
        for one in slices
    ]
    drawn = sorted(slices, key=lambda one: -one["positives"])[:_DRAWN]
    table = Table("AUC by slice", ["slice", "clicks", "candidate: AUC", "worse by", "95% interval"], rows)
    picture = plots.forest(
        [(name(one), {Auc.title: one["losses"][Auc.name]}) for one in drawn if Auc.name in one["losses"]],
        "AUC lower",
        "worse",
    )
    return Picture(
        picture,
        "AUC by slice, against what serves",
        f"How much lower the candidate's AUC is on {len(drawn)} slices.",
        f"Dot: how much lower the candidate's AUC is; bar: 95% interval over users; {text.HOLLOW}. Left of 0 the candidate is "
        "better.",
        SOURCE,
        table,
    )
