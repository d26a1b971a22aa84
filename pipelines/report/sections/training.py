"""Section on training: learning curves, speed, warm start, chosen auxiliaries."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from mal_tf.training.level import LABELS, PREDICTIONS, Point, pcoc_between
from pipelines.core.layout import BENCHMARK
from pipelines.core.text_table import Table
from pipelines.report import plots, text
from pipelines.report.parts import Folded, Numbers, Part, Picture, missing
from pipelines.report.run_files import RunFiles

#: Prefix of the scalars of losses, and suffix of the CAT head's, whose loss has another scale as it has many classes.
_LOSS, _CAT = "loss_", "cat"

#: Largest number of stretches of a training that PCOC is drawn over, and the least Σ label of each, which keeps the
#: standard error of PCOC at a fifth or less.
_STRETCHES, _LEAST_LABELS = 25, 25


def parts(run: RunFiles) -> list[Part]:
    """Build the section."""
    models = run.stages_of("train")
    if not models:
        elsewhere = run.has(BENCHMARK)  # A comparison has its trainings in directories of their own.
        return [] if elsewhere else [missing("No model was trained.")]
    trained = {name: run.json(f"train/{name}/training.json") for name in models}
    events = {name: _events(run, name) for name in models}
    built = [_table(trained), *(_curves(name, *written) for name, written in events.items()), *_level(events)]
    if chosen := run.result("auxiliaries"):
        built.append(_auxiliaries(chosen))
    return built + [
        _warm_start(name, result["warm_start"]) for name, result in trained.items() if result.get("warm_start")
    ]


def _table(trained: Mapping[str, Mapping[str, Any]]) -> Part:
    rows = []
    for name, result in trained.items():
        counts = [text.integer(result.get(key)) for key in ("examples", "corrupt_records", "parameters")]
        rows.append(
            [name, *counts, text.number(result.get("seconds"), 1), text.integer(result.get("examples_per_second"))]
        )
    columns = ["model", "clicks", "corrupt records left out", "parameters", "seconds", "clicks per second"]
    return Numbers(Table("Trainings", columns, rows), "train/*/training.json")


#: Scalars of a training by tag and step.
_Scalars = Mapping[str, Mapping[int, float]]


def _events(run: RunFiles, name: str) -> tuple[list[str], _Scalars]:
    """Return the event files of a training, and the scalars in them."""
    files = run.listed(f"train/{name}/**/events.out.tfevents.*")
    scalars: dict[str, dict[int, float]] = collections.defaultdict(dict)
    for file in files:
        events = EventAccumulator(str(run.directory / file), size_guidance={"tensors": 0})
        events.Reload()
        for tag in events.Tags()["tensors"]:
            scalars[tag] |= {event.step: float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)}
    return files, scalars


def _level(events: Mapping[str, tuple[list[str], _Scalars]]) -> list[Part]:
    """Draw PCOC over the course of the trainings."""
    stretches = {name: _stretches(scalars) for name, (_, scalars) in events.items()}
    drawn = {name: points for name, points in stretches.items() if len(points) > 1}
    if not drawn:
        return []
    lines = {name: ([step for step, _, _ in points], [pcoc for _, pcoc, _ in points]) for name, points in drawn.items()}
    steps = sorted({step for x, _ in lines.values() for step in x})
    lines["calibrated"] = ([steps[0], steps[-1]], [1.0, 1.0])
    rows = [
        [name, text.integer(step), text.number(pcoc, 3), text.number(labels, 1)]
        for name, points in drawn.items()
        for step, pcoc, labels in points
    ]
    return [
        Picture(
            plots.curves({"PCOC since the point before": lines}, "step"),
            "Level of the predictions over the training",
            "PCOC of each model's primary target by step; the last values: "
            + ", ".join(f"{name} {points[-1][1]:.2f}" for name, points in drawn.items()),
            "Σ prediction ÷ Σ label of the clicks since the point before, each predicted before the model learned from it. A "
            "curve that swings around 1 has not settled: where it happened to stop is the level that is served.",
            ", ".join(file for files, _ in events.values() for file in files),
            Table("PCOC over the training", ["model", "up to step", "PCOC", "Σ label"], rows),
        )
    ]


def _stretches(scalars: _Scalars) -> list[tuple[int, float, float]]:
    """Return the last step, the PCOC and the Σ label of each stretch of a training."""
    predictions, labels = (scalars.get(tag, {}) for tag in (PREDICTIONS, LABELS))
    points = [Point(step, predictions[step], labels[step]) for step in sorted(predictions.keys() & labels.keys())]
    if not points:
        return []
    width = max(points[-1].labels / _STRETCHES, _LEAST_LABELS)
    chosen, last = [], 0.0
    for point in points:
        if point.labels - last >= width or point is points[-1]:
            chosen.append(point)
            last = point.labels
    return pcoc_between(chosen)


def _curves(name: str, files: Sequence[str], scalars: _Scalars) -> Part:
    losses = {tag.removeprefix(_LOSS): points for tag, points in scalars.items() if tag.startswith(_LOSS)}
    lines = {head: _between(sorted(points.items())) for head, points in sorted(losses.items()) if len(points) > 1}
    if not lines:
        return missing(f"{name}: its event files hold no curve: the training was too short, or of an earlier version.")
    panels = {"loss since the point before": {head: line for head, line in lines.items() if not head.endswith(_CAT)}}
    if cat := {head: line for head, line in lines.items() if head.endswith(_CAT)}:
        panels["the same, of the CAT class"] = cat
    columns = ["up to step", *lines]
    steps = sorted({step for x, _ in lines.values() for step in x})
    by_head = {head: dict(zip(x, y, strict=True)) for head, (x, y) in lines.items()}
    rows = [[text.integer(step), *(text.number(by_head[head].get(step)) for head in lines)] for step in steps]
    return Picture(
        plots.curves({title: curves for title, curves in panels.items() if curves}, "step"),
        f"Learning curves of {name}",
        f"Loss of each head of {name} by step; the last values: "
        + ", ".join(f"{head} {text.number(y[-1])}" for head, (_, y) in lines.items()),
        "Each click's loss is taken before the model learns from it, so these are losses on clicks not seen yet. A curve that "
        "still falls at the end may gain from more data.",
        ", ".join(files),
        Table(f"Losses of {name}", columns, rows),
    )


def _between(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    """Turn the running means that training writes, over all steps up to each point, into means between the points."""
    sums = [(step, step * mean) for step, mean in points]
    steps = [step for step, _ in points]
    means = [
        (after - before) / (step - last) for (last, before), (step, after) in itertools.pairwise([(0, 0.0), *sums])
    ]
    return steps, means


def _auxiliaries(chosen: Mapping[str, Any]) -> Part:
    rows = [
        [
            name,
            text.percent(gain["gain"], 3),
            text.percent(gain["low"], 3),
            text.percent(gain["high"], 3),
            "yes" if gain["chosen"] else "no",
        ]
        for name, gain in chosen["gains"].items()
    ]
    columns = ["mechanism", "gain", "90% low", "90% high", "chosen"]
    note = (
        f"Gain: share of the primary's loss saved, on {chosen['judged_batches']:,} batches before they are trained on."
    )
    return Numbers(Table("Auxiliary targets in order of choice", columns, rows, note), "auxiliaries/manifest.json")


def _warm_start(name: str, variables: Sequence[Mapping[str, str]]) -> Part:
    counts = collections.Counter(one["status"] for one in variables)
    rows = [[one["variable"], one["status"], one.get("reason", "")] for one in variables]
    title = f"Warm start of {name}: " + ", ".join(f"{n} {status}" for status, n in counts.items())
    table = Table("Variables, and features of tables", ["variable", "status", "reason"], rows)
    return Folded(title, [Numbers(table, f"train/{name}/training.json")])
