"""The tables of a comparison (`mal-tf benchmark`), where the directory holds one."""

from pipelines.report.parts import Numbers, Part
from pipelines.report.source import RunFiles

SOURCE = "results.json"


def parts(run: RunFiles) -> list[Part]:
    """The section; nothing where the run is no comparison."""
    if not (run.has(SOURCE) and run.has("benchmark.json")):
        return []
    from pipelines.comparison.report import tables

    return [Numbers(table, SOURCE) for table in tables(run.json(SOURCE))[1:]]
