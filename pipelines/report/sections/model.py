"""Section on the models: architecture, sizes of the trained and the served graph, latency."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.core.layout import BENCHMARK
from pipelines.core.text_table import Table
from pipelines.report import diagram, plots, text
from pipelines.report.parts import Numbers, Part, Picture, missing
from pipelines.report.run_files import RunFiles

#: Number of embedding tables that the figure shows.
_TABLES = 10


def parts(run: RunFiles) -> list[Part]:
    """Build the section."""
    models = [name for name in run.stages_of("train") if run.has(f"train/{name}/network.json")]
    if not models:
        elsewhere = run.has(BENCHMARK)  # A comparison has its trainings in directories of their own.
        return [] if elsewhere else [missing("No model was trained.")]
    networks = {name: run.json(f"train/{name}/network.json") for name in models}
    built: list[Part] = [_sizes(run, networks)]
    timed = _latency(run, models)
    built.append(timed or missing("No latency was measured: the export is of an earlier version, or did not finish."))
    built += [_architecture(name, network) for name, network in networks.items()]
    served = next(iter(networks))
    return [*built, _tables(served, networks[served])]


def _sizes(run: RunFiles, networks: Mapping[str, Mapping[str, Any]]) -> Part:
    rows = []
    for name, network in networks.items():
        exported = run.result(f"export/{name}") or {}
        trained, served = exported.get("trained", {}), exported.get("served", {})
        cells = [text.integer(sum(rows * width for rows, width in _embeddings(network).values()))]
        cells += [text.integer(graph.get(count)) for count in ("parameters", "ops") for graph in (trained, served)]
        files = run.listed(f"serving/{name}/{exported.get('version', '*')}/**/*")
        size = sum((run.directory / file).stat().st_size for file in files)
        rows.append([name, *cells, text.size(size) if files else text.DASH])
    columns = [
        "model",
        "in embeddings",
        "parameters trained",
        "parameters served",
        "operations trained",
        "operations served",
        "files",
    ]
    note = "What only training needs, such as the heads of other mechanisms, is not in the served graph."
    source = "train/*/network.json, export/*/manifest.json, serving/"
    return Numbers(Table("Sizes", columns, rows, note), source)


def _latency(run: RunFiles, models: Sequence[str]) -> Part | None:
    rows, sources = [], []
    for name in models:
        exported = run.result(f"export/{name}") or {}
        for signature, latency in exported.get("latency_ms", {}).items():
            rows.append(
                [
                    f"{name}: {signature}",
                    text.integer(latency.get("rows")),
                    text.number(latency["p50"], 2),
                    text.number(latency["p99"], 2),
                ]
            )
        if exported.get("latency_ms"):
            sources.append(f"export/{name}/manifest.json")
    infra = run.result("infra")
    for signature, latency in (infra or {}).get("latency_ms", {}).items():
        rows.append(
            [f"infra check: {signature}", text.DASH, text.number(latency["p50"], 2), text.number(latency["p99"], 2)]
        )
    if infra:
        sources.append("infra/manifest.json")
    if not rows:
        return None
    note = "Calls within a fresh process on the machine that made the run: no network, no server, and whatever ran beside it."
    return Numbers(
        Table("Latency of the served graph", ["model: signature", "clicks per call", "p50, ms", "p99, ms"], rows, note),
        ", ".join(sources),
    )


def _architecture(name: str, network: Mapping[str, Any]) -> Part:
    features = [feature["type"] for feature in network["spec"]["features"]]
    inputs = f"{len(features)} features" + (
        f", {features.count('history')} of them histories" if "history" in features else ""
    )
    rows = sum(count for count, _ in _embeddings(network).values())
    blocks, primary = network.get("blocks"), network["model"]["primary"]
    if not blocks:
        return missing(f"How {name} is built was not recorded: it was trained by an earlier version.")
    return Picture(
        diagram.draw(blocks, [inputs, f"embeddings: {rows:,} rows"]),
        f"How {name} is built",
        f"{name}: {inputs}, embeddings, then from below: {diagram.words(blocks)}.",
        f"From below: features to the conversion rate of {primary}. Solid: served; dashed: in training alone.",
        f"train/{name}/network.json",
    )


def _tables(name: str, network: Mapping[str, Any]) -> Part:
    embeddings = sorted(_embeddings(network).items(), key=lambda table: -table[1][0])
    rows = [[table, *map(text.integer, (count, width, count * width))] for table, (count, width) in embeddings]
    drawn = embeddings[:_TABLES]
    counts = [count for _, (count, _) in drawn]
    return Picture(
        plots.bars([table for table, _ in drawn], counts, [f"{count:,}" for count in counts], "rows"),
        f"Embedding tables of {name}",
        f"Rows of the {len(drawn)} largest of {len(embeddings)} tables; the largest is {drawn[0][0]} with {counts[0]:,}.",
        f"Rows of the {len(drawn)} largest of {len(embeddings)} tables: the vocabulary, the missing value and unknown tokens.",
        f"train/{name}/network.json",
        Table("Embedding tables", ["feature", "rows", "width", "parameters"], rows),
    )


def _embeddings(network: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the rows and the width of each embedding table. All hashed features share one table."""
    by_name = {feature["name"]: feature for feature in network["spec"]["features"]}
    common = network["model"]["embedding_dim"]
    hashed: dict = next((one for one in by_name.values() if one.get("hash_lookups")), {})

    def width(feature: Mapping[str, Any]) -> int:
        return (feature.get("embedding_dim") or common) // (feature.get("hash_lookups") or 1)

    return {table: (rows, width(by_name.get(table, hashed))) for table, rows in network["sizes"].items()}
