"""Attribution for one shard of users: statistics for fitting mechanisms, and labelled clicks, in NumPy."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import contract, vocabulary
from features.arrays import codes, flat, id_codes, stable_hash
from features.history import last_events
from features.spec import ARROW_TYPE, CategoricalFeature, FeatureSpec, HistoryFeature
from features.table import FEATURE
from features.time_units import SECONDS_PER_HOUR
from mal_tf.attribution import labels, touchpoints
from mal_tf.attribution.config import AttributionConfig
from mal_tf.attribution.journeys import JourneyRules, Spans, converting_spans, other_spans
from mal_tf.attribution.label_counts import TOUCH_CREDIT_UNIT, credit_units
from mal_tf.attribution.mechanism import DataDrivenMechanism, Mechanism, checked_credit, mechanism_errors
from mal_tf.attribution.shard import USER, Shard, event_keys
from mal_tf.attribution.touches import CLICK, Events, Kinds, Touches
from mal_tf.attribution.touchpoints import TouchpointConfig, Touchpoints


@dataclasses.dataclass(frozen=True)
class LabelPlan:
    """Everything that labelling a shard depends on.

    Attributes:
        spec: features.
        mechanisms: attribution mechanisms by name, in configured order.
        rules: eligibility rules of each mechanism, by name.
        common_rules: eligibility rules with the common window, for path lengths and the report.
        touchpoint: how touchpoint types are derived.
        confounders: names of the features that data-driven mechanisms may balance.
        units_per_second: time units in a second.
        valued: whether to compute credit times value as well.
        attribution: the config that the plan is made from.
        file_units: time units in a second of the label files' timestamps, where these are coarser than the plan's.
        context: names of the kinds of context touch, in the order of `Shard.context`.
    """

    spec: FeatureSpec
    mechanisms: Mapping[str, Mechanism]
    rules: Mapping[str, JourneyRules]
    common_rules: JourneyRules
    touchpoint: TouchpointConfig
    confounders: Sequence[str]
    units_per_second: int
    valued: bool
    attribution: AttributionConfig | None = None
    file_units: int | None = None
    context: tuple[str, ...] = ()

    @classmethod
    def from_config(
        cls,
        attribution: AttributionConfig,
        spec: FeatureSpec,
        units_per_second: int,
        valued: bool,
        context: Sequence[str] = (),
    ) -> "LabelPlan":
        """Plan for a config, whose data-driven mechanisms have no fits yet."""
        return cls(
            spec=spec,
            mechanisms={m.name: m.make() for m in attribution.mechanisms},
            rules=attribution.mechanism_rules(units_per_second, context),
            common_rules=attribution.rules(units_per_second, context=context),
            touchpoint=attribution.touchpoint,
            confounders=attribution.confounders,
            units_per_second=units_per_second,
            valued=valued,
            attribution=attribution,
            context=tuple(context),
        )

    def in_units(self, units_per_second: int) -> "LabelPlan":
        """The plan, with the same mechanisms, for timestamps in another unit."""
        if self.attribution is None or units_per_second == self.units_per_second:
            return self
        other = self.from_config(self.attribution, self.spec, units_per_second, self.valued, self.context)
        return dataclasses.replace(other, mechanisms=self.mechanisms, file_units=self.units_per_second)

    def in_file_units(self, labelled: pa.Table) -> pa.Table:
        """Labelled clicks with timestamps in the unit of the label files, that of the config, rounded down."""
        if self.file_units is None:
            return labelled
        times = labelled["timestamp"].to_numpy() // (self.units_per_second // self.file_units)
        return labelled.set_column(labelled.schema.get_field_index("timestamp"), "timestamp", pa.array(times))

    @property
    def maturity(self) -> int:
        """Time units until a click is mature: the longest window of all mechanisms."""
        return max(rules.window for rules in (*self.rules.values(), self.common_rules))

    @property
    def data_driven(self) -> dict[str, DataDrivenMechanism]:
        """The mechanisms that need to be fitted, by name."""
        return {name: m for name, m in self.mechanisms.items() if isinstance(m, DataDrivenMechanism)}

    @property
    def touchpoint_feature(self) -> CategoricalFeature:
        """The touchpoint type as a feature whose vocabulary holds the types that do not fold into the rare one."""
        limits = {"min_count": self.touchpoint.min_count, "max_size": self.touchpoint.max_types}
        return CategoricalFeature(type="categorical", name="touchpoint", **limits)


def count_touchpoints(shard: Shard, plan: LabelPlan, fit_until: int) -> pa.Table:
    """Counts the touchpoint types of the touches before `fit_until`. Returns columns `token` and `count`."""
    time = _touch_events(shard).time
    return vocabulary.count(plan.touchpoint_feature, _touchpoints(shard, plan).filter(pa.array(time < fit_until)))


def statistics(shard: Shard, plan: LabelPlan, types: Sequence[str], fit_until: int, observed_until: int) -> dict:
    """Statistics of each data-driven mechanism by name, from events before `fit_until`.

    Converting journeys are those whose conversion is earlier. Other journeys consist of touches that are earlier, whose
    window has passed by `observed_until`, and that are in no converting journey.
    """
    touches = shard_touches(shard, plan, types)
    by_mechanism = {}
    for rules, mechanisms in by_rules(plan, plan.data_driven):
        converting = shard_converting_spans(shard, rules)
        kinds = touches.kinds if rules.context else None
        events = shard.click_events if kinds is None else _touch_events(shard)
        time, windows = events.time, np.array(rules.windows)
        closes = time + (rules.window if kinds is None else windows[kinds.kind])
        claimed = converting.covered(time.size) | (time >= fit_until) | (closes > observed_until)
        early = converting.select((converting.end < fit_until) & (converting.touches > 0))
        other = other_spans(events, claimed, rules.windows, kinds)
        other = dataclasses.replace(other, key=_touch_keys(shard, other.first(kinds)))
        nothing = early.select(slice(0, 0)).journeys(touches)
        parts = [(block, nothing) for block in early.blocks(touches)]
        parts += [(nothing, block) for block in other.blocks(touches)]
        for name in mechanisms:
            mechanism = plan.data_driven[name]
            with mechanism_errors(name, "statistics"):
                by_mechanism[name] = mechanism.merge([mechanism.statistics(*part) for part in parts])
    return by_mechanism


def label(shard: Shard, plan: LabelPlan, types: Sequence[str], observed_until: int) -> tuple[pa.Table, Counter]:
    """Labels all clicks of a shard.

    Returns:
        A table in the order of the shard: `click_id`, `user_id`, `timestamp`, `path_length`, `mature`,
        `label_<mechanism>`, `credit_<mechanism>` (the sum before it is capped), `valued_credit_<mechanism>` if conversions
        have a value, `label_cat`, and the features.
        Counts under the common window: attributed and unattributed conversions, and conversions by path length. With
        context, also touches and their credit by kind of touch.
    """
    touches, time = shard_touches(shard, plan, types), shard.click_time
    every_credit = {name: labels.ClickCredit(touches.time.size) for name in plan.mechanisms}
    longest = np.zeros(touches.time.size, np.int64)
    for rules, mechanisms in by_rules(plan, plan.mechanisms):
        for block in shard_converting_spans(shard, rules).blocks(touches):
            for name in mechanisms:
                every_credit[name].add(block, checked_credit(name, plan.mechanisms[name], block))
            if rules == plan.common_rules:
                labels.path_length(longest, block)
    credits = {name: credit.first(time.size) for name, credit in every_credit.items()}
    label_by_name = {name: credit.label for name, credit in credits.items()}
    columns = {name: shard.clicks[name] for name in ("click_id", "user_id", "timestamp")}
    columns["path_length"] = longest[: time.size]
    columns["mature"] = (time + plan.maturity <= observed_until).astype(np.int64)
    columns |= {f"label_{name}": values for name, values in label_by_name.items()}
    columns |= {f"credit_{name}": credit.raw.astype(np.float32) for name, credit in credits.items()}
    if plan.valued:
        columns |= {f"valued_credit_{name}": credit.valued.astype(np.float32) for name, credit in credits.items()}
    columns["label_cat"] = labels.cat_label(label_by_name)
    clicks = _Clicks(shard, plan)
    columns |= {feature.name: contract.select(feature, clicks, plan.spec) for feature in plan.spec.features}
    counts = _count_paths(shard_converting_spans(shard, plan.common_rules))
    return pa.table(columns), counts + _count_kinds(touches.kinds, every_credit)


def by_rules(plan: LabelPlan, mechanisms: Mapping[str, Mechanism]) -> list[tuple[JourneyRules, list[str]]]:
    """Names of mechanisms grouped by eligibility rules. The common rules are included even if no mechanism uses them."""
    groups: dict[JourneyRules, list[str]] = {plan.common_rules: []}
    for name in mechanisms:
        groups.setdefault(plan.rules[name], []).append(name)
    return list(groups.items())


def shard_converting_spans(shard: Shard, rules: JourneyRules) -> Spans:
    """One journey per conversion in the order of the shard; of length 0 if no touch is eligible."""
    keys = event_keys(shard.conversions, "conversion_id", np.arange(shard.conversions.num_rows))
    value = flat(shard.conversions["value"].fill_null(0.0)).to_numpy()  # A missing value adds nothing.
    return converting_spans(shard.click_events, shard.conversion_events, rules, value, keys, shard.context_events)


def shard_touches(shard: Shard, plan: LabelPlan, types: Sequence[str]) -> Touches:
    """Columns of the shard's touches from which journeys are built; touchpoints that are not in `types` become rare."""
    column = _touchpoints(shard, plan).dictionary_encode()
    # Codes follow the order of the names, so that sums over types have the same order in every shard.
    (code,) = codes(column.dictionary)
    names = np.empty(code.size, object)
    names[code] = column.dictionary.to_numpy(zero_copy_only=False)
    names, touchpoint = touchpoints.fold(names, code[column.indices.to_numpy()], types)
    derived = Touchpoints(names, plan.touchpoint.recency_hours, plan.touchpoint.position)
    parts = [_confounders(shard, plan, rows) for rows in (shard.clicks, *shard.context)]
    events = (shard.click_events, *shard.context_events)
    kinds = Kinds.from_events((CLICK, *plan.context), events) if shard.context else None
    units_per_hour = SECONDS_PER_HOUR * plan.units_per_second
    return Touches(_touch_events(shard).time, touchpoint, derived, np.concatenate(parts), units_per_hour, kinds)


def _confounders(shard: Shard, plan: LabelPlan, rows: pa.Table) -> np.ndarray:
    clicks, features = _Clicks(shard, plan, rows), [plan.spec.scalar(name) for name in plan.confounders]
    values = [contract.discrete(feature, contract.select(feature, clicks, plan.spec)) for feature in features]
    hashes = list(map(stable_hash, values))
    return np.stack(hashes, axis=1) if hashes else np.zeros((rows.num_rows, 0), np.uint64)


def _touch_events(shard: Shard) -> Events:
    """Groups and times of the clicks, then of the context touches."""
    parts = (shard.click_events, *shard.context_events)
    return Events(*(np.concatenate([getattr(part, key) for part in parts]) for key in ("group", "time")))


def _touchpoints(shard: Shard, plan: LabelPlan) -> pa.Array:
    """Touchpoint types of the clicks, then of the context touches, where the type's name says the kind of touch."""
    columns = [flat(shard.clicks["touchpoint"])]
    for name, rows in zip(plan.context, shard.context, strict=True):
        given = flat(rows["touchpoint"])
        typed = pc.binary_join_element_wise(f"({name})", given, " ")
        columns.append(pc.if_else(pc.equal(given, ""), f"({name})", typed))
    return columns[0] if len(columns) == 1 else pa.concat_arrays(columns)


def _touch_keys(shard: Shard, touches: np.ndarray) -> np.ndarray:
    """Stable hashes of user and id of the touches at these positions, uint64."""
    if not shard.context:
        return event_keys(shard.clicks, "click_id", touches)
    keys, begin = np.zeros(touches.size, np.uint64), 0
    for number, rows in enumerate((shard.clicks, *shard.context)):
        mine = (touches >= begin) & (touches < begin + rows.num_rows)
        keys[mine] = event_keys(rows, "touch_id" if number else "click_id", touches[mine] - begin) ^ np.uint64(number)
        begin += rows.num_rows
    return keys


def _count_paths(converting: Spans) -> Counter:
    lengths, conversions = np.unique(converting.touches, return_counts=True)
    counts: Counter = Counter()
    counts.update({("path_length", int(n)): int(c) for n, c in zip(lengths, conversions, strict=True) if n})
    attributed = int((converting.length > 0).sum())
    counts["conversions", "attributed"] = attributed
    counts["conversions", "without_click"] = converting.length.size - attributed
    if converting.context:
        counts["conversions", "context_only"] = int(((converting.touches > 0) & (converting.length == 0)).sum())
    return counts


def _count_kinds(kinds: Kinds | None, credits: Mapping[str, labels.ClickCredit]) -> Counter:
    """Touches by kind, and their credit by kind and mechanism, in units of `TOUCH_CREDIT_UNIT`; nothing without context."""
    counts: Counter = Counter()
    if kinds is None:
        return counts
    for number, kind in enumerate(kinds.names):
        is_kind = kinds.kind == number
        counts["touches", kind] = int(is_kind.sum())
        for name, credit in credits.items():
            counts["touch_credit", kind, name] = credit_units(credit.raw[is_kind], TOUCH_CREDIT_UNIT)
    return counts


class _Clicks:
    """Clicks or context touches of a shard as the source of feature values (implements `features.feature.Clicks`)."""

    def __init__(self, shard: Shard, plan: LabelPlan, rows: pa.Table | None = None):
        self._shard, self._spec = shard, plan.spec
        self._rows = shard.clicks if rows is None else rows
        self.timestamp, self.units_per_second = self._rows["timestamp"].to_numpy(), plan.units_per_second

    def column(self, name: str) -> pa.Array:
        return flat(self._rows[FEATURE + name])

    def history(self, feature: HistoryFeature) -> pa.ListArray:
        shard = self._shard
        events = shard.clicks if feature.events == "clicks" else shard.conversions
        id_column = "click_id" if feature.events == "clicks" else "conversion_id"
        column = FEATURE + self._spec.scalar(feature.of).source_column
        events = events.filter(pc.is_valid(events[column]))
        time, user = events["timestamp"].to_numpy(), events[USER].to_numpy()
        order = np.lexsort((id_codes(flat(events[id_column])), time, user))
        click_user = self._rows[USER].to_numpy()
        offsets, index = last_events(user[order], time[order], click_user, self.timestamp, feature.length)
        tokens = flat(events[column]).take(pa.array(order[index])).cast(ARROW_TYPE[self._spec.dtype(feature)])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), tokens)
