"""Text tables, printed to the terminal or rendered as Markdown."""

import dataclasses
from collections.abc import Sequence

import rich.box
import rich.table
from rich.console import Console
from rich.markup import escape

#: Width in characters that no table exceeds.
_WIDEST = 10_000


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text whose first column is aligned left and whose other columns, of numbers, are aligned right.

    Attributes:
        title: heading above the table.
        columns: column names.
        rows: cells of each row.
        note: text below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def show(console: Console, table: Table) -> None:
    """Prints a table without truncating cells; it may be wider than the terminal."""
    drawn = rich.table.Table(
        title=escape(table.title),
        caption=escape(table.note),
        box=rich.box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        min_width=min(max(len(table.title), 100), console.width),
    )
    for index, name in enumerate(table.columns):
        drawn.add_column(escape(name), justify="right" if index else "left")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    drawn.width = console.measure(drawn, options=console.options.update(width=_WIDEST)).maximum
    console.print(drawn, crop=False)


def markdown(table: Table) -> str:
    """Renders a table as Markdown under a heading."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (table.columns, *table.rows)]
    lines.insert(1, "|---" + "|---:" * (len(table.columns) - 1) + "|")
    return "\n".join([f"### {table.title}", "", *lines, "", *([table.note, ""] if table.note else [])])
