"""Draws a model's architecture, from the bottom up: features, embeddings, the blocks of its layer graph, heads."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from pipelines.report import svg

#: Height of a box and of the gap above it, in pixels.
_BOX, _GAP = 40, 30

#: Largest number of blocks in a row with a box each; in a longer row, blocks of the same kind share a box.
_MAX_BOXES = 4


@dataclasses.dataclass
class Box:
    """A box of the diagram, for one or more blocks of a row.

    Attributes:
        blocks: the blocks, each a `mal_tf.models.graph.Block` as JSON.
        row: index of the row from the bottom, the length of the longest chain of blocks below.
    """

    blocks: list[Mapping[str, Any]]
    row: int

    @property
    def served(self) -> bool:
        """Whether the served output depends on the box."""
        return self.blocks[0]["served"]

    @property
    def primary(self) -> bool:
        """Whether the box is the head that is served."""
        return self.blocks[0]["primary"]

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines of text in the box."""
        first, count = self.blocks[0], len(self.blocks)
        if first["target"]:
            return (f"CVR of {first['target']}",) if self.primary else (_counted("loss", count), self._names("target"))
        return (_counted(first["title"], count), self._names("name"))

    def _names(self, key: str) -> str:
        return ", ".join(block[key] for block in self.blocks)


def boxes(blocks: Sequence[Mapping[str, Any]]) -> list[list[Box]]:
    """Arrange blocks in rows of boxes, the bottom row first."""
    depth: dict[str, int] = {}
    for block in blocks:  # Each follows the blocks that it reads.
        depth[block["name"]] = max((depth[name] + 1 for name in block["reads"]), default=0)
    top = max(depth.values(), default=-1)
    depth |= {block["name"]: top for block in blocks if block["primary"]}
    return [_row([block for block in blocks if depth[block["name"]] == row], row) for row in range(top + 1)]


def _row(blocks: Sequence[Mapping[str, Any]], row: int) -> list[Box]:
    if len(blocks) <= _MAX_BOXES:
        return [Box([block], row) for block in blocks]
    boxes_by_kind: dict[tuple, Box] = {}
    for block in blocks:
        kind = (block["primary"] or "loss") if block["target"] else block["title"]
        boxes_by_kind.setdefault((kind, block["served"]), Box([], row)).blocks.append(block)
    return list(boxes_by_kind.values())


def words(blocks: Sequence[Mapping[str, Any]]) -> str:
    """Describe the rows as text, the bottom row first."""
    return "; ".join(", ".join(": ".join(box.lines) for box in row) for row in boxes(blocks))


def draw(blocks: Sequence[Mapping[str, Any]], inputs: Sequence[str]) -> str:
    """Draw a model's architecture as inline SVG.

    Args:
        blocks: each a `mal_tf.models.graph.Block` as JSON, after the blocks that it reads.
        inputs: text of the boxes at the bottom, the lowest first.
    """
    rows = boxes(blocks)
    with svg.styled():
        height = (len(inputs) + len(rows)) * (_BOX + _GAP)
        figure, (axes,) = svg.canvas(height=height)
        figure.set_layout_engine("none")
        axes.set_position((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, svg.WIDTH)
        axes.set_ylim(0, height)
        middle, y = svg.WIDTH / 2, [8 + row * (_BOX + _GAP) for row in range(len(inputs) + len(rows))]
        for row, text in enumerate(inputs):
            _box(axes, middle, y[row], svg.WIDTH - 20, (text,))
            if row:
                _arrow(axes, (middle, y[row - 1] + _BOX), (middle, y[row]))
        click = (middle, y[len(inputs) - 1] + _BOX)
        tops: dict[str, tuple[float, float]] = {}
        for boxes_of_row, bottom in zip(rows, y[len(inputs) :], strict=True):
            centres, width = _centres(len(boxes_of_row))
            for box, x in zip(boxes_of_row, centres, strict=True):
                below = {tops[name] for block in box.blocks for name in block["reads"]} or {click}
                for start in sorted(below):
                    _arrow(axes, start, (x, bottom), box.served)
                _box(axes, x, bottom, width, box.lines, box.served, strong=box.primary)
                tops |= {block["name"]: (x, bottom + _BOX) for block in box.blocks}
        return svg.inline(figure)


def _counted(kind: str, count: int) -> str:
    return f"{count} × {kind}" if count > 1 else kind


def _centres(count: int) -> tuple[list[float], float]:
    """Return the x of the centres of `count` boxes side by side, and their width, in pixels."""
    step = min(160.0, (svg.WIDTH - 8) / count)
    first = svg.WIDTH / 2 - step * (count - 1) / 2
    return [first + step * number for number in range(count)], step - 8


def _box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    lines: Sequence[str],
    served: bool = True,
    strong: bool = False,
) -> None:
    colour = svg.SERIES[0][0]
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y),
            width,
            _BOX,
            boxstyle="round,pad=0,rounding_size=6",
            facecolor=colour if strong else svg.CARD,
            edgecolor=colour if served else svg.MUTED,
            linewidth=1.6,
            linestyle="-" if served else (0, (4, 3)),
            zorder=2,  # Above the arrows, which may pass behind the box.
        )
    )
    lines, size = [line for line in lines if line], 12 if len(lines) == 1 else 10.5
    max_chars = int(width / (0.57 * size))
    for number, line in enumerate(lines, 1):
        shown = line if len(line) <= max_chars else line[: max_chars - 1] + "…"
        axes.annotate(
            shown,
            (x, y + _BOX * (1 - number / (len(lines) + 1))),
            ha="center",
            va="center",
            fontsize=size,
            color=svg.CARD if strong else svg.INK if number == 1 else svg.MUTED,
            zorder=3,
        )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], served: bool = True) -> None:
    style = {
        "arrowstyle": "->",
        "color": svg.MUTED,
        "lw": 1.3,
        "shrinkA": 1,
        "shrinkB": 1,
        "ls": "-" if served else (0, (4, 3)),
    }
    axes.annotate("", end, start, arrowprops=style, zorder=1)
