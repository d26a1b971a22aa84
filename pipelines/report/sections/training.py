"""How the models were trained: learning curves, speed, warm start, chosen auxiliaries."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from pipelines.report import plots, text
from pipelines.report.parts import Folded, Numbers, Part, Picture, missing
from pipelines.report.source import RunFiles
from pipelines.text_table import Table

#: Scalars of losses begin so; the CAT head's, which has many classes and another scale, ends so.
_LOSS, _CAT = "loss_", "cat"


def parts(run: RunFiles) -> list[Part]:
    """The section."""
    models = run.stages_of("train")
    if not models:
        elsewhere = run.has("benchmark.json")  # A comparison's trainings have directories of their own.
        return [] if elsewhere else [missing("No model was trained.")]
    trained = {name: run.json(f"train/{name}/training.json") for name in models}
    made = [_table(trained), *(_curves(run, name) for name in models)]
    if chosen := run.result("auxiliaries"):
        made.append(_auxiliaries(chosen))
    return made + [_warm_start(name, found["warm_start"]) for name, found in trained.items() if found.get("warm_start")]


def _table(trained: Mapping[str, Mapping[str, Any]]) -> Part:
    rows = []
    for name, found in trained.items():
        counts = [text.integer(found.get(key)) for key in ("examples", "corrupt_records", "parameters")]
        rows.append(
            [name, *counts, text.number(found.get("seconds"), 1), text.integer(found.get("examples_per_second"))]
        )
    columns = ["model", "clicks", "corrupt records left out", "parameters", "seconds", "clicks per second"]
    return Numbers(Table("Trainings", columns, rows), "train/*/training.json")


def _curves(run: RunFiles, name: str) -> Part:
    files = run.listed(f"train/{name}/**/events.out.tfevents.*")
    found: dict[str, dict[int, float]] = collections.defaultdict(dict)
    for file in files:
        events = EventAccumulator(str(run.directory / file), size_guidance={"tensors": 0})
        events.Reload()
        for tag in events.Tags()["tensors"]:
            if tag.startswith(_LOSS):
                found[tag.removeprefix(_LOSS)] |= {
                    event.step: float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)
                }
    lines = {head: _between(sorted(points.items())) for head, points in sorted(found.items()) if len(points) > 1}
    if not lines:
        return missing(f"{name}: its event files hold no curve: the training was too short, or of an earlier version.")
    panels = {"loss since the point before": {head: line for head, line in lines.items() if not head.endswith(_CAT)}}
    if cat := {head: line for head, line in lines.items() if head.endswith(_CAT)}:
        panels["the same, of the CAT class"] = cat
    columns = ["up to step", *lines]
    at = sorted({step for x, _ in lines.values() for step in x})
    of_head = {head: dict(zip(x, y, strict=True)) for head, (x, y) in lines.items()}
    rows = [[text.integer(step), *(text.number(of_head[head].get(step)) for head in lines)] for step in at]
    return Picture(
        plots.curves({title: of_panel for title, of_panel in panels.items() if of_panel}, "step"),
        f"Learning curves of {name}",
        f"Loss of each head of {name} by step; the last values: "
        + ", ".join(f"{head} {text.number(y[-1])}" for head, (_, y) in lines.items()),
        "Each click's loss is taken before the model learns from it, so these are losses on clicks not seen yet. A curve that "
        "still falls at the end may gain from more data.",
        ", ".join(files),
        Table(f"Losses of {name}", columns, rows),
    )


def _between(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    """Means between the points, of what training writes: means over all steps up to each point."""
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
            text.percent(found["gain"], 3),
            text.percent(found["low"], 3),
            text.percent(found["high"], 3),
            "yes" if found["chosen"] else "no",
        ]
        for name, found in chosen["gains"].items()
    ]
    columns = ["mechanism", "gain", "90% low", "90% high", "chosen"]
    note = (
        f"Gain: share of the primary's loss saved, on {chosen['judged_batches']:,} batches before they are trained on."
    )
    return Numbers(Table("Auxiliary targets in order of choice", columns, rows, note), "auxiliaries/manifest.json")


def _warm_start(name: str, found: Sequence[Mapping[str, str]]) -> Part:
    counts = collections.Counter(one["status"] for one in found)
    rows = [[one["variable"], one["status"], one.get("reason", "")] for one in found]
    title = f"Warm start of {name}: " + ", ".join(f"{n} {status}" for status, n in counts.items())
    table = Table("Variables, and features of tables", ["variable", "status", "reason"], rows)
    return Folded(title, [Numbers(table, f"train/{name}/training.json")])
