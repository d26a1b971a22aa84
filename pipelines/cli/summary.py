"""Tables that commands print in the terminal: label counts and the choice of auxiliaries."""

from rich.console import Console
from rich.markup import escape

from pipelines.core.text_table import Table, show
from pipelines.labels.report import same_labels


def show_labels(console: Console, report: dict) -> None:
    """Print the rows read, dropped and kept, and the positives per mechanism (Table 1 of the MAL paper, arXiv 2508.15217)."""
    keys = ["read", "filtered", "after_observed_until", "exact_repeats", "restated", "dead_letters"]
    columns = ["read", "other events", "not known yet", "exact repeats", "replaced", "dead letters"]
    for key, column in {"empty_lists": "empty lists", "refunds": "refunds"}.items():
        if any(report[name].get(key) for name in report["days"]):
            keys.append(key)
            columns.append(column)
    rows = []
    for name in report["days"]:
        table = report[name]
        kept = table.get("written", table.get("kept"))
        counts = [*(table.get(key, 0) for key in keys), table.get("immature_dropped", 0), kept]
        rows.append([name, *(f"{count:,}" for count in counts)])
    show(console, Table("Rows", ["log", *columns, "immature", "kept"], rows))
    unattributed = report["conversions"]["without_click"]
    context_only = report["conversions"].get("context_only", 0)
    console.print(
        f"{report['conversions']['attributed']:,} conversions attributed, {unattributed:,} without an eligible click"
        + (f", of which {context_only:,} have context touches" if context_only else "")
    )
    for kind, counts in report.get("touches", {}).items():
        credit = ", ".join(f"{name} {value:,.1f}" for name, value in counts["credit"].items())
        console.print(f"{counts['touches']:,} {kind} touches with a credit of: {credit}")
    if known := [
        f"{report[name]['user_fallback']:,} {name}" for name in report["days"] if "user_fallback" in report[name]
    ]:
        console.print(f"{', '.join(known)} of users known by user_fallback only")
    columns, rows = ["mechanism"], []
    for split in report["splits"]:
        columns += [f"{split}: positives", "ratio", "Σ credit"]
    for name in report["cat_bits"]:
        cells = []
        for split in report["splits"].values():
            counts = split["mechanisms"][name]
            ratio = "–" if counts["ratio"] is None else f"{counts['ratio']:.3f}"
            cells += [f"{counts['positives']:,}", ratio, f"{counts['credit']:,.1f}"]
        rows.append([name, *cells])
    show(console, Table(f"Positives per mechanism (ratio to {report['ratio_to']})", columns, rows))
    lengths = ", ".join(f"{length}: {n:,}" for length, n in report["path_lengths"].items())
    console.print(f"conversions by path length: {lengths or 'none'}")
    classes = ", ".join(f"{c}: {n:,}" for c, n in report["splits"]["train"]["cat_classes"].items())
    console.print(f"CAT classes in the train split (bits: {', '.join(report['cat_bits'])}): {classes}")
    for table, columns_of_table in report.get("missing_cells", {}).items():
        for column, reasons in columns_of_table.items():
            why = ", ".join(f"{reason}: {n:,}" for reason, n in reasons.items())
            note = f"column '{column}' of the {table} table can't be used in some rows, where it is missing ({why})"
            console.print(f"[bold yellow]note:[/] {escape(note)}")
    for pair in same_labels(report):
        console.print(f"[bold yellow]note:[/] {escape(str(pair))}")


def show_auxiliaries(console: Console, result: dict) -> None:
    """Print the auxiliary targets that `model.auxiliaries: auto` chose, and each one's gain."""
    rows = []
    for name, gain in result["gains"].items():
        limits = f"{gain['low']:+.3%} … {gain['high']:+.3%}"
        rows.append([name, f"{gain['gain']:+.3%}", limits, "yes" if gain["chosen"] else "no"])
    judged = f"{result['judged_batches']:,} batches before they are trained on"
    title = f"Auxiliary targets in order of choice; gain: share of the primary's loss saved on {judged}"
    show(console, Table(title, ["mechanism", "gain", "90% interval", "chosen"], rows))
