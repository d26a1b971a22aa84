import io

from rich.console import Console

from pipelines.core.text_table import Table, show


def test_a_narrow_terminal_or_a_log_cuts_no_number():
    """Rich takes 80 columns where it knows none, and shortens what does not fit."""
    cells = ["mal", *(f"{number / 7:+.4f} (-0.1234 … +0.1234)" for number in range(8))]
    table = Table("Differences", ["model", *(f"Δ of slice {n}" for n in range(8))], [cells], "A note. " * 40)
    written = io.StringIO()
    show(Console(file=written, width=80), table)
    (row,) = (line for line in written.getvalue().splitlines() if "mal" in line)
    assert all(cell in row for cell in cells)
    assert " ".join(written.getvalue().split()).count("A note.") == 40
