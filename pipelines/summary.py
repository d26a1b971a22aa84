"""What a run shows at its end: tables a person understands."""

from rich.console import Console
from rich.table import Table


def show_labels(console: Console, report: dict) -> None:
    """Rows in and out, and the paper's Table 1."""
    rows = Table(
        "log",
        "rows read",
        "other events",
        "not known yet",
        "exact repeats",
        "dead letters",
        "immature",
        "kept",
        title="Rows",
    )
    for name in ("clicks", "conversions"):
        found = report[name]
        kept = found.get("written", found.get("kept"))
        cells = [
            found["read"],
            found["filtered"],
            found["after_observed_until"],
            found["exact_repeats"],
            found["dead_letters"],
        ]
        rows.add_row(name, *(f"{n:,}" for n in (*cells, found.get("immature_dropped", 0), kept)))
    console.print(rows)
    unattributed = report["conversions"]["without_click"]
    console.print(
        f"{report['conversions']['attributed']:,} conversions attributed, {unattributed:,} without an eligible click"
    )
    table = Table("mechanism", title=f"Positives per mechanism (ratio to {report['ratio_to']})")
    for split in report["splits"]:
        for column in (f"{split}: positives", "ratio", "Σ credit"):
            table.add_column(column, justify="right")
    for name in report["cat_bits"]:
        cells = []
        for split in report["splits"].values():
            found = split["mechanisms"][name]
            ratio = "–" if found["ratio"] is None else f"{found['ratio']:.3f}"
            cells += [f"{found['positives']:,}", ratio, f"{found['credit']:,.1f}"]
        table.add_row(name, *cells)
    console.print(table)
    lengths = ", ".join(f"{length}: {n:,}" for length, n in report["path_lengths"].items())
    console.print(f"conversions by path length: {lengths or 'none'}")
    classes = ", ".join(f"{c}: {n:,}" for c, n in report["splits"]["train"]["cat_classes"].items())
    console.print(f"CAT classes in the train split (bits: {', '.join(report['cat_bits'])}): {classes}")


def show_auxiliaries(console: Console, result: dict) -> None:
    """What `model.auxiliaries: auto` chose, and by which gains."""
    table = Table("mechanism", "gain", "90% interval", "chosen")
    judged = f"{result['judged_batches']:,} batches before they are trained on"
    table.title = f"Auxiliary targets in order of choice; gain: share of the primary's loss saved on {judged}"
    for name, found in result["gains"].items():
        limits = f"{found['low']:+.3%} … {found['high']:+.3%}"
        table.add_row(name, f"{found['gain']:+.3%}", limits, "yes" if found["chosen"] else "no")
    console.print(table)
