"""Section on journeys: a few examples, drawn with each mechanism's credit to each click."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR
from pipelines.core.text_table import Table
from pipelines.report import svg, text
from pipelines.report.parts import Part, Picture
from pipelines.report.run_files import RunFiles

SOURCE = "journeys/journeys.json"

#: Largest number of events in a figure of a phone's width.
_NARROW = 6


def parts(run: RunFiles) -> list[Part]:
    """Build the section; no parts if no journeys were written."""
    chosen = run.stage_json("journeys", "journeys.json")
    if not chosen:
        return []
    mechanisms = chosen["mechanisms"]
    return [
        _journey(number, one, mechanisms, chosen) for number, one in enumerate(chosen["journeys"], 1) if one["clicks"]
    ]


def _journey(number: int, one: Mapping[str, Any], mechanisms: Sequence[str], chosen: Mapping[str, Any]) -> Part:
    clicks, conversions, context = one["clicks"], one.get("conversions", []), _context(one)
    models = list(dict.fromkeys(model for click in clicks for model in click.get("cvr") or {}))
    columns = ["click", "time", "touchpoint", *mechanisms, *(f"CVR, {model}" for model in models)]
    rows = [
        [
            str(click["click_id"]),
            click["timestamp"],
            _words(click.get("touchpoint")),
            *(text.number(click["credit"].get(mechanism), 3) for mechanism in mechanisms),
            *(text.number((click.get("cvr") or {}).get(model)) for model in models),
        ]
        for click in clicks
    ]
    rows += [
        [touch["name"], touch["timestamp"], _words(touch["touchpoint"])]
        + [text.number(touch["credit"][mechanism], 3) for mechanism in mechanisms]
        + [text.DASH] * len(models)
        for touch in context
    ]
    rows += [
        [f"conversion {event['conversion_id']}", event["timestamp"], f"value {text.general(event.get('value'))}"]
        + [text.DASH] * (len(columns) - 3)
        for event in conversions
    ]
    user = f"user {one['user_id']}" + (f", {_words(one['match_key'])}" if one.get("match_key") else "")
    credits = "; ".join(
        f"{mechanism}: " + ", ".join(text.number(click["credit"].get(mechanism), 2) for click in clicks)
        for mechanism in mechanisms
    )
    window = f" within {chosen['window_hours']:g} hours" if chosen.get("window_hours") else ""
    return Picture(
        _drawn([*context, *clicks], conversions, mechanisms),
        f"Journey {number}: {len(clicks)} clicks of {user}",
        f"Credit of {len(clicks)} clicks in time order. {credits}",
        f"From left to right in time, not to scale; ★ is a conversion{window}. The larger a dot, the more of the conversions' "
        "credit that mechanism gives to the click; a small ring is no credit, and so a negative label."
        + (f" Squares are context touches, without a label: {', '.join(_kinds(context))}." if context else ""),
        SOURCE,
        Table(f"Journey {number}", columns, rows),
        wide=len(context) + len(clicks) + len(conversions) > _NARROW,
    )


def _context(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The context touches of a journey, such as views, with their credit by mechanism, summed over conversions."""
    touches = []
    for place, touch in enumerate(one.get("context", ())):
        credits = [conversion["context_credit"] for conversion in one["conversions"]]
        credit = {name: sum(by_name[name][place] for by_name in credits) for name in credits[0]}
        touches.append(touch | {"name": f"{touch['kind']} {touch['touch_id']}", "credit": credit})
    return touches


def _kinds(context: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({touch["kind"] for touch in context})


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value if value is not None else text.DASH)


def _drawn(touches: Sequence[Mapping], conversions: Sequence[Mapping], mechanisms: Sequence[str]) -> str:
    events = sorted(
        [(_moment(touch["timestamp"]), 0, touch) for touch in touches]
        + [(_moment(event["timestamp"]), 1, event) for event in conversions],
        key=lambda event: event[:2],
    )
    end = max(moment for moment, *_ in events)
    rows = {mechanism: row for row, mechanism in enumerate(mechanisms)}
    with svg.styled():
        wide = len(events) > _NARROW
        figure, (axes,) = svg.canvas(height=44 * len(mechanisms) + 70, width=svg.WIDE if wide else svg.WIDTH)
        for place, (_, kind, event) in enumerate(events):
            if kind:
                axes.axvline(place, color=svg.MUTED, lw=1.5, ls=(0, (4, 3)))
                axes.annotate("★", (place, -0.75), ha="center", va="center", fontsize=17)
                continue
            marker = "s" if "kind" in event else "o"
            for (mechanism, row), (colour, *_) in zip(rows.items(), svg.series(len(rows)), strict=True):
                credit = event["credit"].get(mechanism) or 0.0
                if credit <= 0:
                    axes.plot([place], [row], marker=marker, ms=5, mfc="none", color=svg.MUTED, mew=1.2)
                    continue
                size = 8 + 14 * min(credit, 1.0) ** 0.5
                axes.plot([place], [row], marker=marker, ms=size, color=colour)
                axes.annotate(f"{credit:.2f}", (place, row), (size / 2 + 2, 4), textcoords="offset points", fontsize=10)
        axes.set_yticks(list(rows.values()), list(rows))
        axes.set_xticks(range(len(events)), [_duration(end - moment) for moment, *_ in events])
        axes.set_xlim(-0.5, len(events) - 0.3)
        axes.set_ylim(len(rows) - 0.5, -1.1)
        axes.grid(visible=True, axis="y")
        axes.grid(visible=False, axis="x")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("before the last event")
        return svg.inline(figure)


def _moment(timestamp: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00"))


def _duration(elapsed: datetime.timedelta) -> str:
    seconds = elapsed.total_seconds()
    for unit, size in (("d", SECONDS_PER_DAY), ("h", SECONDS_PER_HOUR), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"
