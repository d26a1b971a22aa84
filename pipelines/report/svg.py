"""Converts Matplotlib figures to inline SVG in the page's colours and font. The same figure gives the same bytes.

Figures are drawn in placeholder colours that become CSS variables, and text stays text, in the page's font. One unit of a
figure is one CSS pixel when it is shown at its own size.
"""

import io
from collections.abc import Iterator
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

#: Placeholder colours by CSS variable.
_PLACEHOLDERS = {name: f"#0a0b{number:02x}" for number, name in enumerate(("ink", "muted", "grid", "card"), 0xA0)}
INK, MUTED, GRID, CARD = _PLACEHOLDERS.values()

#: Colour, marker and dashes of each series. Two series with different colours also have different markers and dashes.
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

#: CSS variable by its placeholder colour.
_COLOURS = {placeholder: name for name, placeholder in _PLACEHOLDERS.items()}
_COLOURS |= {colour: f"series-{colour[-2:]}" for colour, _, _ in SERIES}

#: XML namespaces, which HTML leaves out, and elements that the page does not use.
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_OMITTED = {f"{_SVG}metadata", f"{_SVG}style"}

#: Prefix of every id of a figure, a character that no name contains. The page replaces it to make ids unique.
ID = "\ue000"

#: Widths in pixels of a narrow and a wide figure. On a phone of 360 pixels a card has 298, so that text of size `_FONT` is
#: 10 pixels high.
WIDTH, WIDE = 350, 620
_FONT = 12

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mal-tf",
    "text.parse_math": False,  # Names may contain dollar signs.
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
    """Return a context manager in which figures have the page's style."""
    return matplotlib.rc_context(_STYLE)


def canvas(height: float, width: float = WIDTH, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return an empty figure, its size given in pixels, and its `rows` axes below one another. Call it within `styled`."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    return figure, list(figure.subplots(rows, 1, sharex=rows > 1, squeeze=False)[:, 0])


def series(count: int) -> Iterator[tuple[str, str, object]]:
    """Return the colour, marker and dashes of `count` series; they repeat from the eighth on."""
    return (SERIES[number % len(SERIES)] for number in range(count))


def inline(figure: Figure) -> str:
    """Convert a figure to an `<svg>` element, without a description, which the page adds.

    Ids start with `ID`, which the page replaces so that they are unique in it.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = ElementTree.fromstring(buffer.getvalue())
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
    """Return an attribute's value with the page's ids, font and colours."""
    for start in ("#", "url(#"):
        if value.startswith(start) and value not in _COLOURS:
            value = f"{start}{ID}{value.removeprefix(start)}"
    for placeholder, variable in _COLOURS.items():
        value = value.replace(placeholder, f"var(--{variable})")
    return " ".join(value.replace("'DejaVu Sans'", "var(--font)").split())
