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
from mal_tf.attribution.journeys import JourneyRules, Spans, Touches, converting_spans, other_spans
from mal_tf.attribution.mechanism import DataDrivenMechanism, Mechanism, checked_credit, mechanism_errors
from mal_tf.attribution.shard import USER, Shard, event_keys
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

    @classmethod
    def from_config(
        cls, attribution: AttributionConfig, spec: FeatureSpec, units_per_second: int, valued: bool
    ) -> "LabelPlan":
        """Plan for a config, whose data-driven mechanisms have no fits yet."""
        return cls(
            spec=spec,
            mechanisms={m.name: m.make() for m in attribution.mechanisms},
            rules={m.name: attribution.rules(units_per_second, m.window_hours) for m in attribution.mechanisms},
            common_rules=attribution.rules(units_per_second),
            touchpoint=attribution.touchpoint,
            confounders=attribution.confounders,
            units_per_second=units_per_second,
            valued=valued,
            attribution=attribution,
        )

    def in_units(self, units_per_second: int) -> "LabelPlan":
        """The plan, with the same mechanisms, for timestamps in another unit."""
        if self.attribution is None or units_per_second == self.units_per_second:
            return self
        other = self.from_config(self.attribution, self.spec, units_per_second, self.valued)
        return dataclasses.replace(other, mechanisms=self.mechanisms, file_units=self.units_per_second)

    def in_file_units(self, labelled: pa.Table) -> pa.Table:
        """Labelled clicks with timestamps in the unit of the label files, that of the config, rounded down."""
        if self.file_units is None or self.file_units == self.units_per_second:
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
    """Counts the touchpoint types of the clicks before `fit_until`. Returns columns `token` and `count`."""
    early = shard.clicks["touchpoint"].filter(pa.array(shard.click_time < fit_until))
    return vocabulary.count(plan.touchpoint_feature, flat(early))


def statistics(shard: Shard, plan: LabelPlan, types: Sequence[str], fit_until: int, observed_until: int) -> dict:
    """Statistics of each data-driven mechanism by name, from events before `fit_until`.

    Converting journeys are those whose conversion is earlier. Other journeys consist of clicks that are earlier, whose
    window has passed by `observed_until`, and that are in no converting journey.
    """
    touches, time = shard_touches(shard, plan, types), shard.click_time
    by_mechanism = {}
    for rules, mechanisms in by_rules(plan, plan.data_driven):
        converting = shard_converting_spans(shard, rules)
        claimed = converting.covered(time.size) | (time >= fit_until) | (time + rules.window > observed_until)
        early = converting.select((converting.end < fit_until) & (converting.length > 0))
        other = other_spans(shard.click_events, claimed, rules.window)
        other = dataclasses.replace(other, key=event_keys(shard.clicks, "click_id", other.start))
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
        Counts under the common window: attributed and unattributed conversions, and conversions by path length.
    """
    touches, time = shard_touches(shard, plan, types), shard.click_time
    credits = {name: labels.ClickCredit(time.size) for name in plan.mechanisms}
    longest = np.zeros(time.size, np.int64)
    for rules, mechanisms in by_rules(plan, plan.mechanisms):
        for block in shard_converting_spans(shard, rules).blocks(touches):
            for name in mechanisms:
                credits[name].add(block, checked_credit(name, plan.mechanisms[name], block))
            if rules == plan.common_rules:
                labels.path_length(longest, block)
    label_by_name = {name: credit.label for name, credit in credits.items()}
    columns = {name: shard.clicks[name] for name in ("click_id", "user_id", "timestamp")}
    columns["path_length"] = longest
    columns["mature"] = (time + plan.maturity <= observed_until).astype(np.int64)
    columns |= {f"label_{name}": values for name, values in label_by_name.items()}
    columns |= {f"credit_{name}": credit.raw.astype(np.float32) for name, credit in credits.items()}
    if plan.valued:
        columns |= {f"valued_credit_{name}": credit.valued.astype(np.float32) for name, credit in credits.items()}
    columns["label_cat"] = labels.cat_label(label_by_name)
    clicks = _Clicks(shard, plan)
    columns |= {feature.name: contract.select(feature, clicks, plan.spec) for feature in plan.spec.features}
    return pa.table(columns), _count_paths(shard_converting_spans(shard, plan.common_rules))


def by_rules(plan: LabelPlan, mechanisms: Mapping[str, Mechanism]) -> list[tuple[JourneyRules, list[str]]]:
    """Names of mechanisms grouped by eligibility rules. The common rules are included even if no mechanism uses them."""
    groups: dict[JourneyRules, list[str]] = {plan.common_rules: []}
    for name in mechanisms:
        groups.setdefault(plan.rules[name], []).append(name)
    return list(groups.items())


def shard_converting_spans(shard: Shard, rules: JourneyRules) -> Spans:
    """One journey per conversion in the order of the shard; of length 0 if no click is eligible."""
    keys = event_keys(shard.conversions, "conversion_id", np.arange(shard.conversions.num_rows))
    value = flat(shard.conversions["value"].fill_null(0.0)).to_numpy()  # A missing value adds nothing.
    return converting_spans(shard.click_events, shard.conversion_events, rules, value, keys)


def shard_touches(shard: Shard, plan: LabelPlan, types: Sequence[str]) -> Touches:
    """Columns of the shard's clicks from which journeys are built; touchpoints that are not in `types` become rare."""
    column = flat(shard.clicks["touchpoint"]).dictionary_encode()
    # Codes follow the order of the names, so that sums over types have the same order in every shard.
    (code,) = codes(column.dictionary)
    names = np.empty(code.size, object)
    names[code] = column.dictionary.to_numpy(zero_copy_only=False)
    names, touchpoint = touchpoints.fold(names, code[column.indices.to_numpy()], types)
    derived = Touchpoints(names, plan.touchpoint.recency_hours, plan.touchpoint.position)
    clicks, features = _Clicks(shard, plan), [plan.spec.scalar(name) for name in plan.confounders]
    values = [contract.discrete(feature, contract.select(feature, clicks, plan.spec)) for feature in features]
    hashes = list(map(stable_hash, values))
    confounders = np.stack(hashes, axis=1) if hashes else np.zeros((shard.clicks.num_rows, 0), np.uint64)
    return Touches(shard.click_time, touchpoint, derived, confounders, SECONDS_PER_HOUR * plan.units_per_second)


def _count_paths(converting: Spans) -> Counter:
    lengths, conversions = np.unique(converting.length, return_counts=True)
    counts: Counter = Counter()
    counts.update({("path_length", int(n)): int(c) for n, c in zip(lengths, conversions, strict=True) if n})
    attributed = int((converting.length > 0).sum())
    counts["conversions", "attributed"] = attributed
    counts["conversions", "without_click"] = converting.length.size - attributed
    return counts


class _Clicks:
    """Clicks of a shard as the source of feature values (implements `features.feature.Clicks`)."""

    def __init__(self, shard: Shard, plan: LabelPlan):
        self._shard, self._spec = shard, plan.spec
        self.timestamp, self.units_per_second = shard.click_time, plan.units_per_second

    def column(self, name: str) -> pa.Array:
        return flat(self._shard.clicks[FEATURE + name])

    def history(self, feature: HistoryFeature) -> pa.ListArray:
        shard = self._shard
        events = shard.clicks if feature.events == "clicks" else shard.conversions
        id_column = "click_id" if feature.events == "clicks" else "conversion_id"
        column = FEATURE + self._spec.scalar(feature.of).source_column
        events = events.filter(pc.is_valid(events[column]))
        time, user = events["timestamp"].to_numpy(), events[USER].to_numpy()
        order = np.lexsort((id_codes(flat(events[id_column])), time, user))
        click_user = shard.clicks[USER].to_numpy()
        offsets, index = last_events(user[order], time[order], click_user, shard.click_time, feature.length)
        tokens = flat(events[column]).take(pa.array(order[index])).cast(ARROW_TYPE[self._spec.dtype(feature)])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), tokens)
