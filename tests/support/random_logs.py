"""Random click and conversion logs, and the clicks that are eligible for a conversion by the definition."""

import pyarrow as pa
from hypothesis import strategies as st

from features.spec import FeatureSpec

SPEC = FeatureSpec(
    features=({"type": "categorical", "name": "f"}, {"type": "history", "name": "h", "of": "f", "length": 2})
)


CLICKS = {"click_id": pa.int64(), "user_id": pa.string(), "match_key": pa.string(), "timestamp": pa.int64()}


CLICKS |= {"touchpoint": pa.string(), "feature/f": pa.string()}


CONVERSIONS = {"conversion_id": pa.string(), "user_id": pa.string(), "match_key": pa.string()}


CONVERSIONS |= {"timestamp": pa.int64(), "value": pa.float64()}


EVENT = {"user_id": st.sampled_from("uv"), "match_key": st.sampled_from("kl"), "timestamp": st.integers(0, 12)}


@st.composite
def logs(draw):
    """Rows of both tables, ids in any order."""
    clicks = draw(st.lists(st.fixed_dictionaries(EVENT | {"feature/f": st.sampled_from("xyz")}), max_size=12))
    sales = draw(st.lists(st.fixed_dictionaries(EVENT | {"value": st.integers(0, 9).map(float)}), max_size=6))
    ids = draw(st.permutations(range(18)))
    clicks = [row | {"click_id": i, "touchpoint": "t"} for row, i in zip(clicks, ids, strict=False)]
    return clicks, [row | {"conversion_id": f"c{i}"} for row, i in zip(sales, ids[::-1], strict=False)]


def eligible(clicks, sales, sale, rules):
    """Ids of a conversion's eligible clicks, in order."""
    same = [s for s in sales if (s["user_id"], s["match_key"]) == (sale["user_id"], sale["match_key"])]
    earlier = [s["timestamp"] for s in same if s["timestamp"] < sale["timestamp"]]
    found = []
    for click in clicks:
        gap = sale["timestamp"] - click["timestamp"]
        ok = (click["user_id"], click["match_key"]) == (sale["user_id"], sale["match_key"])
        ok = ok and 0 <= gap <= rules.window and (rules.simultaneous or gap > 0)
        if rules.reset_after_conversion and earlier:
            spent = max(earlier)
            ok = ok and (click["timestamp"] > spent or (click["timestamp"] == spent and not rules.simultaneous))
        if ok:
            found.append((click["timestamp"], click["click_id"]))
    return [click for _, click in sorted(found)]
