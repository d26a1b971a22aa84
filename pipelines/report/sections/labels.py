"""Section on labels: positives by mechanism, rows in and out, path lengths, CAT classes, rows by day."""

from collections.abc import Mapping
from typing import Any

from pipelines.config.evaluation import GrowthConfig
from pipelines.core.text_table import Table
from pipelines.labels import expected_gain
from pipelines.labels.report import same_labels
from pipelines.report import plots, text
from pipelines.report.parts import Numbers, Part, Picture, Text, missing
from pipelines.report.run_files import RunFiles

SOURCE = "labels/label_report.json"

#: Captions of the counts of rows, by key of the label report.
_ROW_COUNTS = {
    "read": "read",
    "filtered": "other events, left out by the config",
    "empty_lists": "without an element to explode",
    "after_observed_until": "after the end of the logs",
    "user_fallback": "without a user, known by the fallback alone",
    "exact_repeats": "exact repeats",
    "restated": "replaced by a later row of the same id",
    "refunds": "refunds, left out by the config",
    "dead_letters": "bad rows (dead letters)",
    "context": "context: in journeys and histories alone",
    "immature_dropped": "immature: window still open",
    "immature_marked": "immature, written with mature = 0",
    "written": "written as examples",
    "kept": "used for attribution",
    "attributed": "of these, with a click that gets credit",
    "without_click": "of these, without an eligible click",
    "context_only": "of these, with context touches alone",
}


def parts(run: RunFiles) -> list[Part]:
    """Build the section."""
    report = run.stage_json("labels", "label_report.json")
    if report is None:
        return [missing("The label job did not finish.")]
    alike = [Text(f"{pair}.", SOURCE) for pair in same_labels(report)]
    alike += [Text(warning[0].upper() + warning[1:], SOURCE) for warning in report.get("warnings", [])]
    built = [_positives(report), *alike, _expected_gain(run, report), _rows(report)]
    if report.get("touches"):
        built.append(_touches(report))
    if report.get("path_lengths"):
        built.append(_path_lengths(report["path_lengths"], "touches" if report.get("touches") else "clicks"))
    built.append(_classes(report))
    if any(report.get("days", {}).values()):
        built.append(_days(report["days"]))
    if reasons := [
        (table, why, n) for table, reasons in report.get("dead_letters", {}).items() for why, n in reasons.items()
    ]:
        rows = [[why, table, text.integer(n)] for table, why, n in reasons]
        built.append(Numbers(Table("Bad rows by reason", ["reason", "table", "rows"], rows), SOURCE))
    if cells := [
        [column, table, why, text.integer(n)]
        for table, columns in report.get("missing_cells", {}).items()
        for column, reasons in columns.items()
        for why, n in reasons.items()
    ]:
        built.append(Numbers(Table("Cells that can't be used", ["column", "table", "reason", "rows"], cells), SOURCE))
    return built


def _positives(report: Mapping[str, Any]) -> Part:
    columns, splits = ["mechanism"], report["splits"]
    for split in splits:
        columns += [f"{split}: positives", "share", f"ratio to {report['ratio_to']}", "Σ credit"]
    rows = []
    for name in report["cat_bits"]:
        cells = [name]
        for split in splits.values():
            counts = split["mechanisms"][name]
            share = counts["positives"] / split["clicks"] if split["clicks"] else None
            cells += [text.integer(counts["positives"]), text.percent(share, 2), text.number(counts["ratio"], 3)]
            cells.append(text.number(counts["credit"], 1))
        rows.append(cells)
    clicks = ", ".join(f"{name} {split['clicks']:,}" for name, split in splits.items())
    note = (
        "Positive: a click with credit above 0. A ratio above 1 is what the other mechanisms bring to learn from. "
        f"Clicks: {clicks}."
    )
    return Numbers(Table("Labels by mechanism (the paper's Table 1)", columns, rows, note), SOURCE)


def _expected_gain(run: RunFiles, report: Mapping[str, Any]) -> Part:
    model, evaluation = (run.config.get(block) or {} for block in ("model", "evaluation"))
    mechanisms = {key: value for key, value in (evaluation.get("growth") or {}).items() if key in ("wider", "narrower")}
    growth = GrowthConfig(**mechanisms)  # Other keys may be of another version.
    gain = expected_gain.expected_gain(report, model.get("primary", growth.narrower), growth)
    return Numbers(expected_gain.table(gain), SOURCE)


def _rows(report: Mapping[str, Any]) -> Part:
    tables = [name for name in dict.fromkeys(("clicks", "conversions", *report.get("days", {}))) if name in report]
    rows = [
        [label, *(text.integer(report[table].get(key)) for table in tables)]
        for key, label in _ROW_COUNTS.items()
        if any(report[table].get(key) is not None for table in tables)
    ]
    return Numbers(Table("Rows in, rows out", ["rows", *tables], rows), SOURCE)


def _touches(report: Mapping[str, Any]) -> Part:
    names = report["cat_bits"]
    rows = [
        [kind, text.integer(counts["touches"]), *(text.number(counts["credit"][name], 1) for name in names)]
        for kind, counts in report["touches"].items()
    ]
    note = (
        "Credit over all conversions, with clicks that are in no split. Context touches take credit and get no label."
    )
    return Numbers(Table("Touches and their credit", ["touch", "number", *names], rows, note), SOURCE)


def _path_lengths(lengths: Mapping[str, int], touches: str) -> Part:
    total = sum(lengths.values())
    rows = [[length, text.integer(n), text.percent(n / total)] for length, n in lengths.items()]
    first, more = list(lengths.items())[:9], sum(list(lengths.values())[9:])
    if more:
        first.append(("longer", more))
    values = [n for _, n in first]
    shown = [f"{n:,} ({text.percent(n / total)})" for n in values]
    several = text.percent(1 - lengths.get("1", 0) / total)
    return Picture(
        plots.bars([name for name, _ in first], values, shown, "conversions"),
        "Length of converting journeys",
        f"Conversions by number of eligible {touches}; {several} have two or more.",
        f"Conversions by number of eligible {touches} before them. Mechanisms differ only where there are more than one: "
        f"{several}.",
        SOURCE,
        Table("Conversions by length of the journey", [touches, "conversions", "share"], rows),
    )


def _classes(report: Mapping[str, Any]) -> Part:
    bits, splits = report["cat_bits"], report["splits"]
    numbers = sorted({int(number) for split in splits.values() for number in split["cat_classes"]})

    def name(number: int) -> str:
        return " + ".join(bit for place, bit in enumerate(bits) if number >> place & 1) or "none"

    rows = [
        [
            str(number),
            name(number),
            *(text.integer(split["cat_classes"].get(str(number), 0)) for split in splits.values()),
        ]
        for number in numbers
    ]
    table = Table("Clicks by CAT class", ["class", "positive under", *splits], rows)
    train = splits["train"]["cat_classes"]
    drawn = [number for number in numbers if number and train.get(str(number))]
    if not drawn:
        return Numbers(table, SOURCE)
    values = [train[str(number)] for number in drawn]
    return Picture(
        plots.bars(
            [_dots(number, len(bits)) for number in drawn], values, [f"{n:,}" for n in values], "clicks, train split"
        ),
        "CAT classes of the positives",
        f"Clicks of the train split by CAT class, class 0 left out: {len(drawn)} of {2 ** len(bits) - 1} occur.",
        f"A class is a set of mechanisms that call the click positive. Filled dots, from the left: {', '.join(bits)}. "
        f"Class 0, none of them, is not drawn; {len(drawn)} of the {2 ** len(bits) - 1} others occur.",
        SOURCE,
        table,
    )


def _dots(number: int, bits: int) -> str:
    return " ".join("●" if number >> place & 1 else "○" for place in range(bits))


def _days(days: Mapping[str, Mapping[str, int]]) -> Part:
    names = sorted({day for rows_of_days in days.values() for day in rows_of_days})
    series = {table: [rows_of_days.get(day, 0) for day in names] for table, rows_of_days in days.items()}
    rows = [[day, *(text.integer(rows_of_days.get(day, 0)) for rows_of_days in days.values())] for day in names]
    return Picture(
        plots.columns([day[5:] for day in names], series),
        "Rows by day",
        f"Rows of each log from {names[0]} to {names[-1]}, UTC.",
        f"Good rows of each log by UTC day, {names[0]} to {names[-1]}. A gap is a log that is late or lost.",
        SOURCE,
        Table("Rows by day", ["day", *days], rows),
    )
