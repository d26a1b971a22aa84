"""Section on data quality: TFDV's anomalies, the measurements of a retraining, feature statistics."""

import os.path
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from pipelines.core.text_table import Table
from pipelines.report import svg, text
from pipelines.report.parts import Folded, Items, Numbers, Part, Picture, Text, Verdict, missing
from pipelines.report.run_files import RunFiles

#: Number of measurements that the figure shows, those nearest to their limits.
_DRAWN = 12


def parts(run: RunFiles) -> list[Part]:
    """Build the section."""
    built = [*_schema(run), *_measurements(run)]
    if run.has("statistics/FeatureStats.pb") and run.finished("statistics"):
        built.append(Folded("Statistics of each feature", [_statistics(run)]))
    if run.has("validate/statistics.html"):
        built.append(
            Text(
                "TFDV's own view of the splits, with their distributions (it loads Facets from the web):",
                "validate/statistics.html",
            )
        )
    return built


def anomalies(run: RunFiles) -> list[str]:
    """Return all anomalies that TFDV and the checks of a retraining report, a line each."""
    if checked := run.result("checks"):
        return list(checked["anomalies"])
    if run.finished("validate"):
        return []
    return [line for path in run.listed("validate/Split-*/SchemaDiff.pb") for line in _lines(run, path)]


def source(run: RunFiles) -> str:
    """Return the path of the file that `anomalies` are read from; comma-separated if several."""
    return "checks/manifest.json" if run.finished("checks") else ", ".join(run.listed("validate/Split-*/SchemaDiff.pb"))


def _lines(run: RunFiles, path: str) -> Iterator[str]:
    proto = anomalies_pb2.Anomalies.FromString(run.bytes(path))
    split = path.split("/")[1].removeprefix("Split-")
    if proto.HasField("dataset_anomaly_info"):
        yield f"{split} split, all features: {proto.dataset_anomaly_info.description}"
    for name, info in sorted(proto.anomaly_info.items()):
        yield f"{split} split, feature '{name}': {info.short_description}: {info.description}"


def _schema(run: RunFiles) -> list[Part]:
    if lines := anomalies(run):
        return [
            Verdict("worse", "Anomalies in the data: " + text.integer(len(lines)) + "."),
            Items("Anomalies", lines, source(run)),
        ]
    validated = run.result("validate")
    if validated is None:
        return [missing("The data was not validated.")]
    schema, counts = validated["schema"], ", ".join(f"{split} {n:,.0f}" for split, n in validated["examples"].items())
    origin = (
        "the schema inferred from the training split"
        if schema == "inferred"
        else f"the schema {os.path.normpath(schema)}"
    )
    return [
        Verdict(
            "better",
            f"No anomalies: {validated['features']} features against {origin}. Clicks: {counts}.",
            "validate/manifest.json",
        )
    ]


def _measurements(run: RunFiles) -> list[Part]:
    measurements = run.stage_json("checks", "measurements.json")
    if not measurements:
        return []
    rows = [
        [
            _name(one),
            one["measure"],
            *(text.general(one[key]) for key in ("value", "low", "high")),
            "▼ anomalous" if one["anomalous"] else "within",
        ]
        for one in measurements
    ]
    columns = ["where", "measure", "value", "least", "most", ""]
    table = Table(f"All {len(measurements)} measurements", columns, rows)
    used = [(share, one) for one in measurements if (share := _share(one)) is not None]
    nearest = sorted(used, key=lambda pair: -pair[0])[:_DRAWN]
    bad = sum(one["anomalous"] for one in measurements)
    source = "checks/measurements.json"
    if not nearest:
        return [Numbers(table, source)]
    return [
        Picture(
            _limits(nearest),
            "How near the data came to its limits",
            f"The {len(nearest)} measurements nearest to their limits; {bad} of {len(measurements)} are beyond.",
            f"Of {len(measurements)} measurements, the {len(nearest)} that used most of their limit: a cross beyond the limit is "
            f"an anomaly, which stops the span. {bad} are anomalous.",
            source,
            table,
        )
    ]


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['where']}, {one['feature']}"


def _share(one: Mapping[str, Any]) -> float | None:
    """Return the share of its limit that a measurement uses; None without a limit, or if both limits are equal."""
    low, high, value = one["low"], one["high"], one["value"]
    if low == high:
        return None
    shares = [value / high] if high else []
    shares += [low / value] if low and value else []
    return max(shares, default=None)


def _limits(nearest: Sequence[tuple[float, Mapping[str, Any]]]) -> str:
    with svg.styled():
        figure, (axes,) = svg.canvas(height=40 * len(nearest) + 60)
        for place, (share, one) in enumerate(nearest):
            colour, marker, _ = svg.SERIES[1] if one["anomalous"] else svg.SERIES[0]
            shown = min(share, 1.5)
            axes.plot([0, shown], [place, place], color=colour, lw=2, solid_capstyle="butt")
            axes.plot([shown], [place], color=colour, marker="X" if one["anomalous"] else marker, ms=8)
            name = f"{one['feature']}: {one['measure']}"
            name = name if len(name) < 48 else name[:47] + "…"
            axes.annotate(name, (0, place - 0.4), va="center", fontsize=11)
            axes.annotate(
                text.percent(share, 0), (shown, place), (7, 0), textcoords="offset points", va="center", fontsize=11
            )
        axes.axvline(1, color=svg.INK, lw=1.5, ls=(0, (4, 2)))
        axes.set_ylim(len(nearest) - 0.5, -0.9)
        axes.set_xlim(0, max(1.25, *(min(share, 1.5) + 0.25 for share, _ in nearest)))
        axes.set_yticks([])
        axes.set_xticks([0, 0.5, 1], ["0%", "50%", "limit"])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        return svg.inline(figure)


def _statistics(run: RunFiles) -> Part:
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(run.bytes("statistics/FeatureStats.pb"))
    splits = [dataset.name.removeprefix("Split-") for dataset in statistics.datasets]
    by_name: dict[str, dict[str, Any]] = {}
    for dataset, split in zip(statistics.datasets, splits, strict=True):
        for feature in dataset.features:
            by_name.setdefault(feature.name or ".".join(feature.path.step), {})[split] = feature
    rows = [
        [name, *(cell for split in splits for cell in _cells(feature.get(split)))]
        for name, feature in sorted(by_name.items())
    ]
    columns = [
        "feature",
        *(f"{split}: {what}" for split in splits for what in ("present", "distinct", "mean", "least", "most")),
    ]
    note = "Present: share of the clicks that have a value. Distinct values are counted for text."
    return Numbers(Table("Features, labels and ids of the examples", columns, rows, note), "statistics/FeatureStats.pb")


def _cells(feature: statistics_pb2.FeatureNameStatistics | None) -> list[str]:
    if feature is None:
        return [text.DASH] * 5
    numeric = feature.WhichOneof("stats") == "num_stats"
    common = (feature.num_stats if numeric else feature.string_stats).common_stats
    count = common.num_missing + common.num_non_missing
    present = text.percent(common.num_non_missing / count if count else None)
    if not numeric:
        return [present, text.integer(feature.string_stats.unique), *[text.DASH] * 3]
    numbers = feature.num_stats
    return [present, text.DASH, *(text.general(value) for value in (numbers.mean, numbers.min, numbers.max))]
