"""What counts of users and conversions suggest: one user who is many, ids that don't match."""

from collections.abc import Mapping
from typing import Any

from mal_tf.attribution.touches import CLICK

#: A user with more clicks than this share of all, and this many times the mean, is suspicious.
_SHARE, _TIMES_THE_MEAN = 0.05, 100

#: So is one with more than this share.
_MOST = 0.5

#: A smaller share of conversions with a click than this suggests that the ids of the tables differ.
_FEW = 0.01


def warnings(counts: Mapping[tuple, int]) -> list[str]:
    """What to look at in the logs, from the exact counts of the label job; empty if nothing is suspicious."""
    found = []
    clicks = counts.get(("clicks", "distinct"), 0)
    users = counts.get(("clicks", "users"), 0)
    by_user = {key[1]: n for key, n in counts.items() if key[0] == "user"}
    if by_user:
        user, most = min(by_user.items(), key=lambda item: (-item[1], item[0]))
        share = most / max(clicks, 1)
        if most > 1 and (share > _MOST or (share > _SHARE and most > _TIMES_THE_MEAN * clicks / users)):
            found.append(
                f"user '{user}' has {most:,} of {clicks:,} clicks ({share:.0%}): if this is a word for unknown users, which "
                "makes one user of all of them, name it in `null_values` of the table, or leave such rows out with `where`"
            )
    if of_one_row := counts.get(("conversions", "of_one_row"), 0):
        found.append(
            f"{of_one_row:,} elements of exploded lists are dropped, as their conversion_id is that of another element of the "
            "same row: name a field of the elements in it, such as an item id, besides that of the row"
        )
    attributed, without = (counts.get(("conversions", name), 0) for name in ("attributed", "without_click"))
    if without and attributed < _FEW * (attributed + without):
        found.append(
            f"{attributed:,} of {attributed + without:,} conversions find an eligible click: check that both tables hold user "
            "ids and match keys in the same form, `sources.time_unit`, and `attribution.window_hours`"
        )
    for kind, touches in sorted((key[1], n) for key, n in counts.items() if key[0] == "touches"):
        credit = sum(n for key, n in counts.items() if key[:2] == ("touch_credit", kind))
        if kind != CLICK and touches and attributed and not credit:
            found.append(
                f"none of the {touches:,} {kind} touches gets credit for a conversion: check that their log holds user ids and "
                "match keys in the form of the click log, `attribution.context_window_hours`, and `clicks_only` of the mechanisms"
            )
    return found


def one_class(splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Says under which mechanisms all clicks of a split are of one class, from the counts of the splits in the report."""
    found = []
    for split, counts in splits.items():
        clicks = counts["clicks"]
        for which, number in (("no", 0), ("every", clicks)):
            names = [name for name, of in counts["mechanisms"].items() if of["positives"] == number]
            if clicks and names:
                effect = "a model learns nothing from it" if split == "train" else "AUC and GAUC will have no value"
                found.append(
                    f"{split} split: {which} click of {clicks:,} is positive under {', '.join(names)}: {effect}. Check that "
                    "conversions find clicks (attribution.window_hours, match keys), or label more days"
                )
    return found
