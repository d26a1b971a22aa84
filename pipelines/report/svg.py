"""Matplotlib figures as inline SVG, in the page's colours and font; the same figure gives the same bytes.

Figures are drawn in stand-in colours that become CSS variables; text stays text, in the page's font. One unit of a figure
is a CSS pixel where it is shown at its own size.
"""

import io
from collections.abc import Iterator
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

#: Stand-ins by CSS variable.
_STAND_INS = {name: f"#0a0b{number:02x}" for number, name in enumerate(("ink", "muted", "grid", "card"), 0xA0)}
INK, MUTED, GRID, CARD = _STAND_INS.values()

#: A series' colour, marker and dashes: two that differ in colour differ in the other two as well.
SERIES = [
    (f"#0a0b{number:02x}", marker, dashes)
    for number, (marker, dashes) in enumerate(
        [
            ("o", "-"),
            ("s", (0, (5, 2))),
            ("^", (0, (1, 1.5))),
            ("D", (0, (6, 2, 1, 2))),
            ("v", (0, (3, 1, 1, 1, 1, 1))),
            ("P", (0, (8, 3))),
            ("X", (0, (2, 2))),
        ],
        1,
    )
]

#: CSS variable by the colour that stands in for it.
_COLOURS = {stand_in: name for name, stand_in in _STAND_INS.items()}
_COLOURS |= {colour: f"series-{colour[-2:]}" for colour, _, _ in SERIES}

#: Namespaces, which HTML leaves out, and elements that the page has no use for.
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_OMITTED = {f"{_SVG}metadata", f"{_SVG}style"}

#: Before every id of a figure, until the page has put what makes it unique there: a character that no name holds.
ID = "\ue000"

#: Nominal widths: at 298 pixels, what a card has on a phone of 360, text of `_FONT` is 10 pixels high.
WIDTH, WIDE = 350, 620
_FONT = 12

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mal-tf",
    "text.parse_math": False,  # Names may hold dollar signs.
    "font.family": "DejaVu Sans",
    "font.size": _FONT,
    "axes.titlesize": _FONT,
    "axes.labelsize": _FONT,
    "xtick.labelsize": _FONT - 1,
    "ytick.labelsize": _FONT - 1,
    "legend.fontsize": _FONT - 1,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
}


def styled():
    """Context in which figures have the page's style."""
    return matplotlib.rc_context(_STYLE)


def canvas(height: float, width: float = WIDTH, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure of so many pixels, and its axes below one another. Call it within `styled`."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    return figure, list(figure.subplots(rows, 1, sharex=rows > 1, squeeze=False)[:, 0])


def series(count: int) -> Iterator[tuple[str, str, object]]:
    """Colour, marker and dashes of so many series; they repeat from the eighth on."""
    return (SERIES[number % len(SERIES)] for number in range(count))


def inline(figure: Figure) -> str:
    """A figure as an `<svg>` to stand in a page; the page adds a description.

    Ids begin with `ID`, which the page replaces, so that they are unique in it.
    """
    written = io.StringIO()
    FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = ElementTree.fromstring(written.getvalue())
    svg.attrib = {"viewBox": svg.attrib["viewBox"]}
    for parent in list(svg.iter()):
        for child in [child for child in parent if child.tag in _OMITTED]:
            parent.remove(child)
    values = [value for element in svg.iter() for value in element.attrib.values()]
    for element in svg.iter():
        element.tag = element.tag.removeprefix(_SVG)
        identity = element.attrib.pop("id", None)
        element.attrib = {name.removeprefix(_XLINK): _in_page(value) for name, value in element.attrib.items()}
        if identity and {f"#{identity}", f"url(#{identity})"} & set(values):
            element.set("id", f"{ID}{identity}")
        if element.tag != "text":
            element.text = None
        element.tail = "\n"
    return ElementTree.tostring(svg, encoding="unicode").strip()


def _in_page(value: str) -> str:
    """An attribute's value with the page's ids, font and colours."""
    for start in ("#", "url(#"):
        if value.startswith(start) and value not in _COLOURS:
            value = f"{start}{ID}{value.removeprefix(start)}"
    for stand_in, variable in _COLOURS.items():
        value = value.replace(stand_in, f"var(--{variable})")
    return " ".join(value.replace("'DejaVu Sans'", "var(--font)").split())
