"""Labelling of click and conversion tables in memory, with the code that the label job runs on each of its shards."""

import datetime
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from features import table, vocabulary
from features.arrays import flat
from features.errors import BadInput, MalTfError
from features.frozen import Moment
from features.in_memory import arrow_table
from features.raw_times import NANOSECONDS, TimeFormat, finest_unit
from features.roles import ClickColumns, ContextColumns, ConversionColumns
from features.spec import FeatureSpec
from features.time_units import UNITS_PER_SECOND, since_epoch
from mal_tf.attribution import labelling, shard
from mal_tf.attribution.config import READY, AttributionConfig
from mal_tf.attribution.labelling import LabelPlan
from mal_tf.attribution.mechanism import mechanism_errors
from mal_tf.attribution.shard import SOURCE_COLUMNS, Shard
from mal_tf.attribution.touches import CLICK

#: Column that says which rows are context touches.
_KIND = "touch_type"

#: Reads the same text on every Python, as configs do.
_MOMENT = pydantic.TypeAdapter(Moment)

#: Number of bad rows that an error message lists.
_SHOWN = 3

AnyTable = TypeVar("AnyTable", pd.DataFrame, pa.Table)


def labels(
    clicks: AnyTable,
    conversions: pd.DataFrame | pa.Table,
    attribution: AttributionConfig,
    features: FeatureSpec | None = None,
    *,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
    observed_until: datetime.datetime | str | None = None,
    fit_until: datetime.datetime | str | None = None,
) -> AnyTable:
    """Labels clicks under every attribution mechanism, after fitting data-driven mechanisms on the same tables.

    Columns are found by name. `clicks` has `click_id`, `user_id`, `timestamp` and optionally `user_fallback` (what stands for
    a missing user, such as the device), `match_key`, `touchpoint` (the type that data-driven mechanisms model) and the columns
    of the features. `conversions` has `conversion_id`, `user_id`, `timestamp` and optionally `user_fallback`, `match_key` and
    `value`. Timestamps are of Arrow or pandas type, in UTC if they have no time zone, or numbers since 1970; they are compared
    in the finest unit that occurs.

    If `attribution.context_window_hours` names kinds of context touch, such as `view`, `clicks` has a column `touch_type`,
    which is `click` or one of them. Context touches take credit, and have no row in the result.

    Args:
        clicks: the click log; a click delivered twice counts once.
        conversions: the conversion log; a conversion delivered twice counts once.
        attribution: mechanisms and eligibility.
        features: features to compute for each click, histories included; none by default.
        time_unit: unit of the timestamps given and returned. Required if they are whole numbers, otherwise `us`.
        observed_until: time up to which the logs are complete, by default that of the latest event. Later events are left
            out, and clicks whose window ends later are immature. A time, or ISO text such as `2024-03-10T12:00`, in UTC if
            it has no time zone.
        fit_until: data-driven mechanisms are fitted on events before this time; by default on all.

    Returns:
        A table of the same type as `clicks`, with a row per click in their order: `click_id`, `user_id` (as text),
        `timestamp`, `path_length` int64, `mature` int64 (1 or 0); by mechanism `label_<name>` and `credit_<name>` float32
        and, if conversions have a value, `valued_credit_<name>`; then `label_cat` int64 and the features. A data frame keeps
        the index of `clicks`.

    Raises:
        BadInput: a column is missing or of the wrong type, or rows are bad, such as without an id or with repeated ids.
        MalTfError: `attribution` can't be applied to tables in memory, or a mechanism failed.

    Example:
        >>> import mal_tf
        >>> import pandas as pd
        >>> day = pd.Timestamp("2024-01-01")
        >>> clicks = pd.DataFrame({"click_id": [1, 2, 3], "user_id": ["a", "a", "b"], "timestamp": day})
        >>> clicks["timestamp"] += pd.to_timedelta([1, 2, 3], unit="h")
        >>> conversions = pd.DataFrame({"conversion_id": [1], "user_id": ["a"], "timestamp": [day + pd.Timedelta("5h")]})
        >>> mechanisms = [mal_tf.mechanism("last"), mal_tf.mechanism("linear")]
        >>> attribution = mal_tf.AttributionConfig(window_hours=24, mechanisms=mechanisms)
        >>> labelled = mal_tf.labels(clicks, conversions, attribution)
        >>> labelled[["click_id", "label_last", "label_linear", "label_cat"]]
           click_id  label_last  label_linear  label_cat
        0         1         0.0           0.5          2
        1         2         1.0           0.5          3
        2         3         0.0           0.0          0
    """
    spec = features or FeatureSpec.model_construct(features=())  # Not validated, since a valid spec has a feature.
    _check(attribution, spec)
    tables = arrow_table(clicks), arrow_table(conversions, name="conversions")
    unit = time_unit or _time_unit(*tables)
    if unit not in UNITS_PER_SECOND:
        raise BadInput(f"time_unit: expected one of {', '.join(UNITS_PER_SECOND)}, found {unit!r}")
    click_columns, conversion_columns = _columns(*tables)
    context: list[str] = [*attribution.context_window_hours]
    by_kind, given = _by_kind(tables[0], context), UNITS_PER_SECOND[unit]
    events = [
        _canonical(tables[0], click_columns, spec.columns("clicks"), given, by_kind[CLICK]),
        _canonical(tables[1], conversion_columns, spec.columns("conversions"), given),
    ]
    touch_columns, confounders = _context_columns(click_columns), spec.scalar_columns(attribution.confounders)
    events += [_canonical(tables[0], touch_columns, confounders, given, by_kind[kind]) for kind in context]
    units = max(finest_unit(rows["timestamp"].to_numpy(), UNITS_PER_SECOND[unit]) for rows in events)
    events = [_divided(rows, NANOSECONDS // units) for rows in events]
    until = (
        _latest(events[:2]) if observed_until is None else since_epoch(_moment(observed_until, "observed_until"), units)
    )
    observed = [rows.filter(pa.array(rows["timestamp"].to_numpy() <= until)) for rows in events]
    id_columns = ["click_id", "conversion_id", *("touch_id" for _ in context)]
    unique = [_without_repeats(rows, id_column) for rows, id_column in zip(observed, id_columns, strict=True)]
    prepared = shard.sort(unique[0], unique[1], unique[2:])
    plan = LabelPlan.from_config(attribution, spec, units, conversion_columns.value is not None, context)
    fits_end = until + 1 if fit_until is None else since_epoch(_moment(fit_until, "fit_until"), units, up=True)
    types = _fit(prepared, plan, fits_end, until)
    labelled, _ = labelling.label(prepared, plan, types, until)
    labelled = _divided(labelled, units // UNITS_PER_SECOND[unit])
    rows = prepared.clicks["source_row"].to_numpy()
    order = np.argsort(rows)
    labelled = labelled.take(pa.array(order)).combine_chunks()
    if isinstance(clicks, pa.Table):
        return labelled
    # Integers with missing values are kept as objects, because large ones would be rounded as floats.
    return labelled.to_pandas(integer_object_nulls=True).set_axis(clicks.index[rows[order]])


def _check(attribution: AttributionConfig, spec: FeatureSpec) -> None:
    if attribution.fit_from:
        raise MalTfError(
            f"attribution.fit_from: {attribution.fit_from}: tables in memory are labelled with new fits; leave it out"
        )
    ready = [mechanism.name for mechanism in attribution.mechanisms if mechanism.type == READY]
    if ready or attribution.window_hours is None:
        raise MalTfError(
            "expected attribution.window_hours and mechanisms that compute labels, found "
            + (f"ready-made labels: {', '.join(ready)}" if ready else "no window")
        )
    try:
        attribution.check(spec)
    except ValueError as error:
        raise MalTfError(str(error)) from error


def _time_unit(*tables: pa.Table) -> str:
    units = ", ".join(map(repr, UNITS_PER_SECOND))
    for rows in tables:
        if "timestamp" in rows.column_names and not pa.types.is_timestamp(rows["timestamp"].type):
            raise BadInput(
                f"column 'timestamp': expected timestamps, or time_unit ({units}) for numbers; found "
                f"{rows['timestamp'].type} and no time_unit"
            )
    return "us"


def _columns(clicks: pa.Table, conversions: pa.Table) -> tuple[ClickColumns, ConversionColumns]:
    """Roles of the columns, which are named like the roles. Optional roles are filled if the table has the column."""
    with_key = [
        name for name, rows in (("clicks", clicks), ("conversions", conversions)) if "match_key" in rows.column_names
    ]
    if len(with_key) == 1:
        raise BadInput(f"column 'match_key': expected it in both tables or in none, found it in {with_key[0]} alone")
    key = ("match_key",) if with_key else ()
    touchpoint = ("touchpoint",) if "touchpoint" in clicks.column_names else ()
    value = "value" if "value" in conversions.column_names else None
    roles: list[dict[str, Any]] = [
        {name: name for name in (f"{event}_id", "user_id", "timestamp")} for event in ("click", "conversion")
    ]
    for of, rows in zip(roles, (clicks, conversions), strict=True):
        of |= {"user_fallback": ("user_fallback",) if "user_fallback" in rows.column_names else (), "match_key": key}
    return (
        ClickColumns.model_validate(roles[0] | {"touchpoint": touchpoint}),
        ConversionColumns.model_validate(roles[1] | {"value": value}),
    )


def _context_columns(clicks: ClickColumns) -> ContextColumns:
    """Roles of the columns in rows of context touches, which are those of clicks."""
    return ContextColumns.model_validate(clicks.model_dump(exclude={"click_id"}) | {"touch_id": clicks.click_id})


def _by_kind(rows: pa.Table, context: Sequence[str]) -> dict[str, np.ndarray | None]:
    """Positions of the rows of each kind of touch; None for clicks if there is no context."""
    if not context:
        return {CLICK: None}
    if _KIND not in rows.column_names:
        raise BadInput(
            f"clicks: expected a column '{_KIND}', as attribution.context_window_hours has {', '.join(context)}; found "
            f"columns: {', '.join(rows.column_names)}"
        )
    kinds = (CLICK, *context)
    known = pc.index_in(rows[_KIND].cast(pa.string()), pa.array(kinds))
    if known.null_count:
        row = int(np.flatnonzero(known.is_null())[0])
        raise BadInput(
            f"clicks, row {row}: column '{_KIND}': expected one of {', '.join(kinds)}; found {rows[_KIND][row].as_py()!r}"
        )
    return {kind: np.flatnonzero(known.to_numpy() == number) for number, kind in enumerate(kinds)}


def _canonical(
    rows: pa.Table, columns: table.Roles, features: dict[str, str], units: int, places: np.ndarray | None = None
) -> pa.Table:
    """Rows in canonical columns, with their position in the source (`SOURCE_COLUMNS`); all rows, or those at `places`."""
    if places is None:
        places = np.arange(rows.num_rows)
    else:
        rows = rows.take(pa.array(places)).combine_chunks()
    batch = pa.RecordBatch.from_arrays([flat(column) for column in rows.columns], rows.column_names)
    bounds = table.TimeBounds(0, 2**63 - 1)
    normalised = table.normalise(batch, columns, features, bounds, TimeFormat(units), columns.TABLE)
    if normalised.bad_index.size:
        raise _bad(columns.TABLE, places[normalised.bad_index].tolist(), normalised.reasons)
    source = [pa.array(np.zeros(batch.num_rows, np.int32)), pa.array(places)]
    return pa.Table.from_arrays([*normalised.rows.columns, *source], [*normalised.rows.schema.names, *SOURCE_COLUMNS])


def _bad(name: str, rows: Sequence[int], reasons: Sequence[str]) -> BadInput:
    shown = "; ".join(f"row {row}: {reason}" for row, reason in list(zip(rows, reasons, strict=True))[:_SHOWN])
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return BadInput(f"{name}: {len(rows):,} bad rows ({shown}{more}); correct or drop them")


def _without_repeats(rows: pa.Table, id_column: str) -> pa.Table:
    kept, other, _ = shard.drop_duplicates(rows, id_column)
    if other.num_rows:
        name, places = id_column.removesuffix("_id") + "s", other["source_row"].to_pylist()
        raise _bad(name, places, [f"{id_column} is a duplicate with other content"] * len(places))
    return kept


def _latest(events: Sequence[pa.Table]) -> int:
    return max((int(rows["timestamp"].to_numpy().max()) for rows in events if rows.num_rows), default=0)


def _moment(moment: datetime.datetime | str, name: str) -> datetime.datetime:
    """The time of an argument."""
    try:
        if not isinstance(moment, datetime.datetime) or pd.isna(moment):  # NaT is a datetime too.
            moment = _MOMENT.validate_python(str(moment))
    except ValueError as error:
        raise MalTfError(f"{name}: expected a time or ISO text such as 2024-03-10T12:00, found {moment!r}") from error
    return moment


def _divided(rows: pa.Table, factor: int) -> pa.Table:
    """Rows with timestamps in a unit that is `factor` times as long."""
    times = pa.array(rows["timestamp"].to_numpy() // factor)
    return rows.set_column(rows.schema.get_field_index("timestamp"), "timestamp", times)


def _fit(events: Shard, plan: LabelPlan, fit_until: int, observed_until: int) -> list[str]:
    """Fits the data-driven mechanisms and returns the touchpoint types that do not fold into the rare one."""
    if not plan.data_driven:
        return []
    counts = labelling.count_touchpoints(events, plan, fit_until)
    types = vocabulary.cut(plan.touchpoint_feature, counts, plan.spec.vocabulary)
    for name, statistics in labelling.statistics(events, plan, types, fit_until, observed_until).items():
        with mechanism_errors(name, "fit"):
            plan.data_driven[name].load(plan.data_driven[name].fit(statistics))
    return types
