"""Attribution of one shard of users: statistics that mechanisms are fitted on, and labelled clicks, by NumPy alone."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import vocabulary
from features.arrays import codes, flat, stable_hash
from features.history import last_events
from features.spec import ARROW_TYPE, CategoricalFeature, FeatureSpec, HistoryFeature
from features.table import FEATURE
from features.time_units import SECONDS_PER_HOUR
from mal_tf.attribution import labels, touchpoints
from mal_tf.attribution.config import AttributionConfig
from mal_tf.attribution.journeys import JourneyRules, Spans, Touches, converting_spans, other_spans
from mal_tf.attribution.mechanism import DataDrivenMechanism, Mechanism, checked_credit, named
from mal_tf.attribution.shard import USER, Shard, event_keys
from mal_tf.attribution.touchpoints import TouchpointConfig, Touchpoints


@dataclasses.dataclass(frozen=True)
class LabelPlan:
    """How shards are labelled.

    Attributes:
        spec: features.
        mechanisms: by name, in configured order.
        rules: eligibility of each mechanism, by name.
        common_rules: eligibility by the common window, for path lengths and the report.
        touchpoint: how types are made.
        confounders: names of the features that data-driven mechanisms may balance.
        units_per_second: time units in a second.
        valued: whether to write credit times value as well.
    """

    spec: FeatureSpec
    mechanisms: Mapping[str, Mechanism]
    rules: Mapping[str, JourneyRules]
    common_rules: JourneyRules
    touchpoint: TouchpointConfig
    confounders: Sequence[str]
    units_per_second: int
    valued: bool

    @classmethod
    def configured(
        cls, attribution: AttributionConfig, spec: FeatureSpec, units_per_second: int, valued: bool
    ) -> "LabelPlan":
        """The plan of a config; its data-driven mechanisms are still without fits."""
        return cls(
            spec=spec,
            mechanisms={m.name: m.make() for m in attribution.mechanisms},
            rules={m.name: attribution.rules(units_per_second, m.window_hours) for m in attribution.mechanisms},
            common_rules=attribution.rules(units_per_second),
            touchpoint=attribution.touchpoint,
            confounders=attribution.confounders,
            units_per_second=units_per_second,
            valued=valued,
        )

    @property
    def maturity(self) -> int:
        """Time units until a click is mature: the longest window, the same for all mechanisms."""
        return max(rules.window for rules in (*self.rules.values(), self.common_rules))

    @property
    def data_driven(self) -> dict[str, DataDrivenMechanism]:
        """The mechanisms to be fitted."""
        return {name: m for name, m in self.mechanisms.items() if isinstance(m, DataDrivenMechanism)}

    @property
    def touchpoint_feature(self) -> CategoricalFeature:
        """The touchpoint type as a feature whose vocabulary is the types that do not fold into the rare one."""
        limits = {"min_count": self.touchpoint.min_count, "max_size": self.touchpoint.max_types}
        return CategoricalFeature(type="categorical", name="touchpoint", **limits)


def count_touchpoints(shard: Shard, plan: LabelPlan, fit_until: int) -> pa.Table:
    """Counts the types of the clicks before `fit_until`: columns `token`, `count`."""
    early = shard.clicks["touchpoint"].filter(pa.array(shard.click_time < fit_until))
    return vocabulary.count(plan.touchpoint_feature, flat(early))


def statistics(shard: Shard, plan: LabelPlan, types: Sequence[str], fit_until: int, observed_until: int) -> dict:
    """Statistics of each data-driven mechanism, from what happened before `fit_until`.

    Converting journeys are those whose conversion is earlier; other journeys are made of clicks that are earlier, whose
    window has passed, and that are in no converting journey at all.
    """
    touches, time = touches_of(shard, plan, types), shard.click_time
    found = {}
    for rules, mechanisms in by_rules(plan, plan.data_driven):
        converting = converting_of(shard, rules)
        claimed = converting.covered(time.size) | (time >= fit_until) | (time + rules.window > observed_until)
        early = converting.select((converting.end < fit_until) & (converting.length > 0))
        other = other_spans(shard.click_events, claimed, rules.window)
        other = dataclasses.replace(other, key=event_keys(shard.clicks, "click_id", other.start))
        nothing = early.select(slice(0, 0)).journeys(touches)
        parts = [(block, nothing) for block in early.blocks(touches)]
        parts += [(nothing, block) for block in other.blocks(touches)]
        for name in mechanisms:
            mechanism = plan.data_driven[name]
            with named(name, "statistics"):
                found[name] = mechanism.merge([mechanism.statistics(*part) for part in parts])
    return found


def label(shard: Shard, plan: LabelPlan, types: Sequence[str], observed_until: int) -> tuple[pa.Table, Counter]:
    """Labels all clicks of a shard.

    Returns:
        Table in the shard's order: `click_id`, `user_id`, `timestamp`, `path_length`, `mature`, `label_<mechanism>`,
        `credit_<mechanism>` (the sum before it is capped), `valued_credit_<mechanism>` where conversions have a value,
        `label_cat`, features.
        Counts: attributed and unattributed conversions, and conversions by path length, by the common window.
    """
    touches, time = touches_of(shard, plan, types), shard.click_time
    credits = {name: labels.ClickCredit(time.size) for name in plan.mechanisms}
    longest = np.zeros(time.size, np.int64)
    for rules, mechanisms in by_rules(plan, plan.mechanisms):
        for block in converting_of(shard, rules).blocks(touches):
            for name in mechanisms:
                credits[name].add(block, checked_credit(name, plan.mechanisms[name], block))
            if rules == plan.common_rules:
                labels.path_length(longest, block)
    found = {name: credit.label for name, credit in credits.items()}
    columns = {name: shard.clicks[name] for name in ("click_id", "user_id", "timestamp")}
    columns["path_length"] = longest
    columns["mature"] = (time + plan.maturity <= observed_until).astype(np.int64)
    columns |= {f"label_{name}": values for name, values in found.items()}
    columns |= {f"credit_{name}": credit.raw.astype(np.float32) for name, credit in credits.items()}
    if plan.valued:
        columns |= {f"valued_credit_{name}": credit.valued.astype(np.float32) for name, credit in credits.items()}
    columns["label_cat"] = labels.cat_label(found)
    clicks = _Clicks(shard, plan)
    columns |= {feature.name: feature.select(clicks, plan.spec) for feature in plan.spec.features}
    return pa.table(columns), _count_paths(converting_of(shard, plan.common_rules))


def by_rules(plan: LabelPlan, mechanisms: Mapping[str, Mechanism]) -> list[tuple[JourneyRules, list[str]]]:
    """Mechanisms by what they hold eligible; the common rules come even if no mechanism has them."""
    found: dict[JourneyRules, list[str]] = {plan.common_rules: []}
    for name in mechanisms:
        found.setdefault(plan.rules[name], []).append(name)
    return list(found.items())


def converting_of(shard: Shard, rules: JourneyRules) -> Spans:
    """A journey per conversion, in the shard's order; of length 0 where no click is eligible."""
    keys = event_keys(shard.conversions, "conversion_id", np.arange(shard.conversions.num_rows))
    value = shard.conversions["value"].to_numpy()
    return converting_spans(shard.click_events, shard.conversion_events, rules, value, keys)


def touches_of(shard: Shard, plan: LabelPlan, types: Sequence[str]) -> Touches:
    """What journeys take from the shard's clicks; `types`: touchpoint types that do not fold into the rare one."""
    column = flat(shard.clicks["touchpoint"]).dictionary_encode()
    # Codes in the order of the names, so that sums over types come in the same order in every shard.
    (code,) = codes(column.dictionary)
    names = np.empty(code.size, object)
    names[code] = column.dictionary.to_numpy(zero_copy_only=False)
    names, touchpoint = touchpoints.fold(names, code[column.indices.to_numpy()], types)
    known = Touchpoints(names, plan.touchpoint.recency_hours, plan.touchpoint.position)
    clicks, chosen = _Clicks(shard, plan), [plan.spec.scalar(name) for name in plan.confounders]
    hashes = [stable_hash(feature.discrete(feature.select(clicks, plan.spec))) for feature in chosen]
    confounders = np.stack(hashes, axis=1) if hashes else np.zeros((shard.clicks.num_rows, 0), np.uint64)
    return Touches(shard.click_time, touchpoint, known, confounders, SECONDS_PER_HOUR * plan.units_per_second)


def _count_paths(converting: Spans) -> Counter:
    lengths, conversions = np.unique(converting.length, return_counts=True)
    counts: Counter = Counter()
    counts.update({("path_length", int(n)): int(c) for n, c in zip(lengths, conversions, strict=True) if n})
    attributed = int((converting.length > 0).sum())
    counts["conversions", "attributed"] = attributed
    counts["conversions", "without_click"] = converting.length.size - attributed
    return counts


class _Clicks:
    """A shard's clicks, as features take their values from them (`features.feature.Clicks`)."""

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
        order = np.lexsort((codes(flat(events[id_column]))[0], time, user))
        click_user = shard.clicks[USER].to_numpy()
        offsets, index = last_events(user[order], time[order], click_user, shard.click_time, feature.length)
        tokens = flat(events[column]).take(pa.array(order[index])).cast(ARROW_TYPE[self._spec.dtype(feature)])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), tokens)
