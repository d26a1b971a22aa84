"""The architecture of a model, drawn from below: features, what all targets share, towers, heads."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from pipelines.report import svg

#: Height of a box and of the gap above it, in pixels.
_BOX, _GAP = 40, 30

#: Models whose heads all stand on the same vector; the others have experts instead.
_WITH_BOTTOM = ("base", "shared_bottom", "mal", "natal")

#: Models whose other towers feed the primary one, so that they are served too.
_FUSED = ("mal", "natal", "moae")


@dataclasses.dataclass(frozen=True)
class _Tower:
    name: str
    served: bool
    trained: bool = True  # Has a head with a loss.


def bottom(name: str, model: Mapping[str, Any]) -> str:
    """What all targets share, in words."""
    if name in _WITH_BOTTOM:
        return f"shared bottom {_widths(model['bottom_units'])}"
    if name == "mmoe":
        return f"{model['experts']} experts {_widths(model['expert_units'])}, a gate per target"
    own, shared = model["own_experts"], model["shared_experts"]
    levels = f"{model['levels']} levels of " if name == "ple" else ""
    return f"{levels}{shared} shared + {own} own experts {_widths(model['expert_units'])}"


def draw(name: str, model: Mapping[str, Any], targets: Sequence[str], inputs: Sequence[str]) -> str:
    """Draws a model.

    Args:
        name: of the model.
        model: its `ModelConfig`, as JSON.
        targets: the primary and its auxiliaries.
        inputs: what stands in the two boxes at the bottom.
    """
    towers, fused = _towers(name, model, targets), name in _FUSED
    levels = 5 + fused
    with svg.styled():
        height = levels * (_BOX + _GAP)
        figure, (axes,) = svg.canvas(height=height)
        figure.set_layout_engine("none")
        axes.set_position([0, 0, 1, 1])
        axes.set_axis_off()
        axes.set_xlim(0, svg.WIDTH)
        axes.set_ylim(0, height)
        middle, y = svg.WIDTH / 2, [8 + level * (_BOX + _GAP) for level in range(levels)]
        for level, words in enumerate((*inputs, bottom(name, model))):
            _box(axes, middle, y[level], 330, words)
            if level:
                _arrow(axes, (middle, y[level - 1] + _BOX), (middle, y[level]))
        places, width = _places(len(towers))
        for tower, x in zip(towers, places, strict=True):
            _arrow(axes, (middle, y[2] + _BOX), (x, y[3]), tower.served)
            _box(axes, x, y[3], width, tower.name, tower.served, small=True)
        if fused:
            kind = (
                "adds the others' knowledge vectors"
                if name == "mal"
                else f"takes the others in, at {len(model['tower_units'])} layers"
            )
            _box(axes, middle, y[4], 330, f"{model['primary']} {kind}")
            for x in places:
                _arrow(axes, (x, y[3] + _BOX), (x, y[4]))
            _arrow(axes, (middle, y[4] + _BOX), (middle, y[5]))
            _box(axes, middle, y[5], 180, f"CVR of {model['primary']}", strong=True)
        else:
            for tower, x in zip(towers, places, strict=True):
                _arrow(axes, (x, y[3] + _BOX), (x, y[4]), tower.served)
                _box(
                    axes,
                    x,
                    y[4],
                    width,
                    "CVR" if tower.served else "loss",
                    tower.served,
                    small=True,
                    strong=tower.served,
                )
        return svg.inline(figure)


def _towers(name: str, model: Mapping[str, Any], targets: Sequence[str]) -> list[_Tower]:
    primary, fused = model["primary"], name in _FUSED
    others = [target for target in targets if target != primary] if name != "base" else []
    found = [_Tower(primary, served=True)]
    if name == "mal":  # The primary is among the towers that gather knowledge, beside the one that is served.
        found.append(_Tower(f"{primary}′", served=True))
    found += [_Tower(other, served=fused) for other in others]
    if fused and model["cat"] and not model["single_attribution"]:
        found.append(_Tower("CAT", served=True))
    return found


def _places(count: int) -> tuple[list[float], float]:
    """Middles of so many boxes side by side, and their width."""
    step = min(110.0, (svg.WIDTH - 8) / count)
    first = svg.WIDTH / 2 - step * (count - 1) / 2
    return [first + step * number for number in range(count)], step - 8


def _box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    words: str,
    served: bool = True,
    small: bool = False,
    strong: bool = False,
) -> None:
    colour = svg.SERIES[0][0]
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y),
            width,
            _BOX,
            boxstyle="round,pad=0,rounding_size=6",
            facecolor=colour if strong else "none",
            edgecolor=colour if served else svg.MUTED,
            linewidth=1.6,
            linestyle="-" if served else (0, (4, 3)),
        )
    )
    longest = int(width / (6.3 if small else 6.8))
    shown = words if len(words) <= longest else words[: longest - 1] + "…"
    axes.annotate(
        shown,
        (x, y + _BOX / 2),
        ha="center",
        va="center",
        fontsize=10.5 if small else 12,
        color=svg.CARD if strong else svg.INK,
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
    axes.annotate("", end, start, arrowprops=style)


def _widths(units: Sequence[int]) -> str:
    return "→".join(map(str, units))
