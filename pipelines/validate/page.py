"""A page about the statistics of the splits, side by side, that needs no script and no network."""

from collections.abc import Iterator, Mapping
from html import escape

from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList, FeatureNameStatistics

#: Most frequent values that are shown.
_TOP = 5

_COLUMNS = ("feature", "split", "type", "clicks with it", "values", "distinct", "mean", "min", "median", "max", "zeros")
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Statistics of the splits</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; }
table { border-collapse: collapse; }
th, td { padding: .2em .6em; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
td.last { border-bottom: 1px solid #888; }
</style></head><body>
<h1>Statistics of the splits</h1>
"""


def page(statistics: Mapping[str, DatasetFeatureStatisticsList]) -> str:
    """Returns the page as HTML.

    Args:
        statistics: statistics by split.
    """
    features = {
        split: {"".join(one.path.step): one for one in of.datasets[0].features} for split, of in statistics.items()
    }
    counts = {split: of.datasets[0].num_examples for split, of in statistics.items()}
    names = sorted(set().union(*features.values()))
    clicks = ", ".join(f"{escape(split)}: {count:,}" for split, count in counts.items())
    head = "".join(f"<th>{column}</th>" for column in (*_COLUMNS, "most frequent values"))
    rows = (_row(name, split, features[split].get(name), counts[split]) for name in names for split in statistics)
    return f"{_HEAD}<p>Clicks: {clicks}.</p>\n<table><tr>{head}</tr>\n{''.join(rows)}</table>\n</body></html>\n"


def _row(name: str, split: str, feature: FeatureNameStatistics | None, clicks: int) -> str:
    cells = [name, split, *(_cells(feature, clicks) if feature else ["–", "0", *[""] * (len(_COLUMNS) - 3)])]
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>\n"


def _cells(feature: FeatureNameStatistics, clicks: int) -> Iterator[str]:
    stats = getattr(feature, feature.WhichOneof("stats"))
    common = stats.common_stats
    yield FeatureNameStatistics.Type.Name(feature.type).lower()
    yield f"{common.num_non_missing:,} ({common.num_non_missing / max(clicks, 1):.1%})"
    yield f"{common.tot_num_values:,}"
    if feature.HasField("num_stats"):
        yield ""
        yield from (f"{value:.6g}" for value in (stats.mean, stats.min, stats.median, stats.max))
        yield f"{stats.num_zeros / max(common.tot_num_values, 1):.1%}"
        yield ""
        return
    yield f"{stats.unique:,}"
    yield from [""] * 5
    yield ", ".join(f"{value.value} ({value.frequency:,.0f})" for value in stats.top_values[:_TOP])
