"""The label report, with counts of rows read and written, and positives per mechanism (Table 1 of MAL)."""

import datetime
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from features.errors import BadInput, MalTfError
from features.table import EPOCH
from features.time_units import UNIT_NAMES
from mal_tf.attribution.label_counts import CREDIT_UNIT, TOUCH_CREDIT_UNIT
from mal_tf.attribution.touches import CLICK
from pipelines.labels import dead_letters, plausibility

#: Two mechanisms label almost the same clicks if at least this share of the clicks positive under either is positive under both.
_ALMOST_ALL = 0.95

#: Counts of rows that others count too.
_NOT_A_PART = ("read", "user_fallback", "immature_marked", "attributed", "without_click", "context_only")

#: A last day with less than this share of the events of the median day is suspicious.
_FEW = 0.05


class SameLabels(NamedTuple):
    """Two mechanisms that label almost the same clicks of the training split.

    Attributes:
        one: name of the first mechanism.
        other: name of the second mechanism.
        agreement: number of clicks positive under both, divided by that of clicks positive under either.
        correlation: correlation, over all clicks, between being positive under the one and under the other.
    """

    one: str
    other: str
    agreement: float
    correlation: float

    def __str__(self) -> str:
        return (
            f"{self.one} and {self.other} label almost the same clicks: {self.agreement:.1%} of those that either labels "
            f"positive are positive under both (correlation {self.correlation:.3f}), so two towers learn the same label; replace "
            "one by a mechanism that differs more (docs/attribution.md), or remove it"
        )


def same_labels(report: Mapping[str, Any]) -> list[SameLabels]:
    """Finds pairs of mechanisms that label almost the same clicks of the training split, from the CAT classes of a report."""
    mechanisms, classes = report["cat_bits"], report["splits"]["train"]["cat_classes"]
    clicks = np.array(list(classes.values()), np.float64)
    bits = np.array([int(number) for number in classes], np.int64)
    positive = {name: (bits >> place & 1) == 1 for place, name in enumerate(mechanisms)}
    pairs = []
    for one, other in itertools.combinations(mechanisms, 2):
        a, b = positive[one], positive[other]
        both, either = clicks[a & b].sum(), clicks[a | b].sum()
        if not either or both < _ALMOST_ALL * either:
            continue
        total, in_a, in_b = clicks.sum(), clicks[a].sum(), clicks[b].sum()
        spread = np.sqrt(in_a * (total - in_a) * in_b * (total - in_b))
        pairs.append(
            SameLabels(
                one, other, float(both / either), float((total * both - in_a * in_b) / spread) if spread else 1.0
            )
        )
    return pairs


#: The tables that every label job has. Others are of context touches, such as `context_view`.
TABLES = ("clicks", "conversions")


def build(counts: Mapping[tuple, int], mechanisms: Sequence[str], tables: Sequence[str] = TABLES) -> dict[str, Any]:
    """Builds the report from exact counts.

    Args:
        counts: counts of the job by (topic, …).
        mechanisms: names in configured order. Positives are also given relative to `last`, or to the first one without it.
        tables: names of the tables. With context touches, conversions that only they led to are counted too, and all touches
            and their credit by kind.
    """
    context = [table for table in tables if table not in TABLES]
    tables = (*TABLES, *context)
    reference = "last" if "last" in mechanisms else mechanisms[0]
    splits = {
        split: {
            "clicks": counts.get(("clicks", "written", split), 0),
            "mechanisms": _table_1(counts, split, mechanisms, reference),
            "cat_classes": _by_number(counts, ("cat", split)),
        }
        for split in ("train", "eval")
    }
    units = max((key[1] for key in counts if key[0] == "time_unit"), default=0)
    return {
        "clicks": _rows(counts, "clicks"),
        "conversions": _rows(counts, "conversions")
        | {
            name: counts.get(("conversions", name), 0)
            for name in ("attributed", "without_click", *(("context_only",) if context else ()))
        },
        **{table: _rows(counts, table) for table in context},
        "ratio_to": reference,
        "time_unit": UNIT_NAMES.get(units),
        "splits": splits,
        "days": {table: _days(counts, table) for table in tables},
        **({"touches": _touches(counts, mechanisms)} if context else {}),
        "path_lengths": _by_number(counts, ("path_length",)),
        "cat_bits": list(mechanisms),
        "warnings": plausibility.warnings(counts) + plausibility.one_class(splits),
        "dead_letters": {table: _reasons(counts, table) for table in tables},
        "missing_cells": {table: _missing_cells(counts, table) for table in tables},
    }


def late_events(report: Mapping[str, Any]) -> str:
    """Says if the last day has far fewer events than the others, as with a stray late event; empty if not."""
    days: Counter[str] = Counter()
    for table in TABLES:
        days.update(report["days"][table])
    *others, last = sorted(days) or [""]
    median = float(np.median([days[day] for day in others])) if others else 0.0
    if days[last] >= _FEW * median:
        return ""
    return (
        f"the last day of the logs, {last}, has far fewer events ({days[last]:,}) than the others (median {median:,.0f}). "
        "Without labels.observed_until the logs count as complete up to their latest event, and clicks whose window ends before "
        "it as mature. Set labels.observed_until to the end of the complete logs if that event is stray or the day not complete."
    )


def _rows(counts: Mapping[tuple, int], table: str) -> dict[str, int]:
    rows = {
        name: counts.get((table, name), 0) for name in ("read", "filtered", "after_observed_until", "exact_repeats")
    }
    rows |= {name: counts[table, name] for name in ("empty_lists", "user_fallback") if (table, name) in counts}
    if table == "conversions":
        rows |= {name: counts.get((table, name), 0) for name in ("restated", "refunds")}
    rows["dead_letters"] = sum(_reasons(counts, table).values())
    if table == "clicks":
        rows["context"] = counts.get((table, "context"), 0)
        rows["immature_dropped"] = counts.get((table, "immature_dropped"), 0)
        rows["immature_marked"] = counts.get((table, "immature_marked"), 0)
    rows["written" if table == "clicks" else "kept"] = sum(n for k, n in counts.items() if k[:2] == (table, "written"))
    return rows


def _touches(counts: Mapping[tuple, int], mechanisms: Sequence[str]) -> dict[str, dict]:
    """Touches by kind, with their credit by mechanism over all conversions, those in no split included."""
    kinds = [key[1] for key in counts if key[0] == "touches"]
    return {
        kind: {
            "touches": counts["touches", kind],
            "credit": {
                name: round(counts.get(("touch_credit", kind, name), 0) * TOUCH_CREDIT_UNIT, 6) for name in mechanisms
            },
        }
        for kind in sorted(kinds, key=lambda kind: (kind != CLICK, kind))
    }


def _table_1(counts, split: str, mechanisms: Sequence[str], reference: str) -> dict[str, dict]:
    base = counts.get(("positives", split, reference), 0)
    return {
        name: {
            "positives": (positives := counts.get(("positives", split, name), 0)),
            "ratio": round(positives / base, 6) if base else None,
            "credit": round(counts.get(("credit", split, name), 0) * CREDIT_UNIT, 6),
        }
        for name in mechanisms
    }


def _by_number(counts: Mapping[tuple, int], prefix: tuple) -> dict[str, int]:
    by_number = {key[-1]: n for key, n in counts.items() if key[:-1] == prefix and n}
    return {str(number): by_number[number] for number in sorted(by_number)}


def _days(counts: Mapping[tuple, int], table: str) -> dict[str, int]:
    """Returns the number of good rows up to `observed_until`, including repeats, by UTC day."""
    days = {key[2]: n for key, n in counts.items() if key[:2] == (table, "day")}
    return {str(EPOCH + datetime.timedelta(day)): days[day] for day in sorted(days)}


def _reasons(counts: Mapping[tuple, int], table: str) -> dict[str, int]:
    return {key[2]: n for key, n in sorted(counts.items()) if key[:2] == (table, "dead") and n}


def _missing_cells(counts: Mapping[tuple, int], table: str) -> dict[str, dict[str, int]]:
    """Good rows whose value or feature could not be used, by column and reason."""
    cells: dict[str, dict[str, int]] = {}
    for key, n in sorted(counts.items()):
        if key[:2] == (table, "missing") and n:
            cells.setdefault(key[2], {})[key[3]] = n
    return cells


def check(report: Mapping[str, Any], max_bad_share: float, output: str, tables: Sequence[str] = TABLES) -> None:
    """Checks that every row is accounted for, that few rows are bad, and that no table or split is empty.

    Raises:
        BadInput: too many rows are bad or cells of a column missing, a table has no rows, or a split has no clicks.
        MalTfError: rows were lost.
    """
    for table in tables:
        rows = report[table]
        out = sum(n for k, n in rows.items() if k not in _NOT_A_PART)
        if out != rows["read"]:
            raise MalTfError(
                f"{table}: {rows['read']:,} rows read but {out:,} accounted for ({rows}); this is a bug, please report it"
            )
        bad, considered = rows["dead_letters"], rows["read"] - rows["filtered"] - rows.get("empty_lists", 0)
        if considered == 0:
            raise BadInput(
                f"no {table} found in {rows['read']:,} rows read; check `files`, `where` and `explode` in `sources`"
            )
        if bad > max_bad_share * considered:
            raise BadInput(
                f"{bad:,} of {considered:,} rows of the {table} table are bad, more than labels.max_bad_share = "
                f"{max_bad_share:g}: {_worst(report['dead_letters'][table])}. The first is {dead_letters.first(output, table)}. "
                f"See {output}/dead_letter/; fix the log or raise the share."
            )
        for column, reasons in report["missing_cells"][table].items():
            if (missing := sum(reasons.values())) > max_bad_share * considered:
                raise BadInput(
                    f"column '{column}' of the {table} table can't be used in {missing:,} of {considered:,} rows, more than "
                    f"labels.max_bad_share = {max_bad_share:g}: {_worst(reasons)}. Fix the log, or raise the share: the rows are "
                    "kept, with the cell missing."
                )
    for split, counts in report["splits"].items():
        if not counts["clicks"]:
            raise BadInput(
                f"the {split} split has no clicks: check eval_from, train_from, eval_until, observed_until and without_days of "
                f"`labels`, and attribution.window_hours (dropped as immature: {report['clicks']['immature_dropped']:,}). "
                f"{_days_with_clicks(report)}"
            )


def _days_with_clicks(report: Mapping[str, Any]) -> str:
    """Says on which days the log has clicks, and on which between them it has none."""
    days = sorted(map(datetime.date.fromisoformat, report["days"]["clicks"]))
    if not days:
        return "The log has no clicks with a usable time."
    later = ((day, following) for day, following in itertools.pairwise(days) if (following - day).days > 1)
    one = datetime.timedelta(1)
    gaps = [(str(day + one), str(following - one)) for day, following in later]
    without = ", ".join(first if first == last else f"{first} to {last}" for first, last in gaps[:5])
    more = f" and {len(gaps) - 5:,} more times" if len(gaps) > 5 else ""
    return f"The log has clicks from {days[0]} to {days[-1]}" + (f", but none on {without}{more}." if gaps else ".")


def _worst(reasons: Mapping[str, int]) -> str:
    """The three most frequent reasons."""
    return ", ".join(f"{reason} ({n:,})" for reason, n in sorted(reasons.items(), key=lambda r: -r[1])[:3])
