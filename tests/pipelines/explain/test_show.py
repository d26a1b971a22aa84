"""What is shown of a click, at 80 columns."""

import datetime
import io

from rich.console import Console

from pipelines.explain import show
from pipelines.explain.explain import Explanation
from pipelines.explain.journey import Click, Conversion, Journey

NOON = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)


def explanation(mechanisms=3, **changed):
    names = ["last", "linear", *(f"mechanism_{i}" for i in range(2, mechanisms))]
    label = dict.fromkeys(names, 0.0) | {"linear": 0.5, names[-1]: 0.25}
    clicks = [Click(f"12345:67890:{i}", NOON + i * HOUR, "[top]", label, label, {"mal": 0.0123}) for i in range(3)]
    credit = dict.fromkeys(names, (None, 0.0, 1.0)) | {"linear": (None, 0.5, 0.5), names[-1]: (0.5, 0.25, 0.25)}
    sale = Conversion("order", NOON + 2.5 * HOUR, 9.5, credit)
    late = Conversion("late", NOON + 99 * HOUR, 1.0, dict.fromkeys(names, (None, None, None)))
    known = {
        "journey": Journey("u", ("s1", "p2"), tuple(clicks), (sale, late)),
        "place": 1,
        "split": "eval",
        "why_not": "",
        "mature": True,
        "closes": NOON + 13 * HOUR,
        "windows": dict.fromkeys(names, 12.0),
        "path_length": 2,
        "cat": 2 | 1 << mechanisms - 1,
        "features": {"place": "[top]", "price": None, "weight": 2.5, "clicked": ["a", "b"], "bought": []},
        "differs": [],
        "changed": False,
    }
    return Explanation(**known | changed)


def shown(found):
    console = Console(file=io.StringIO(), width=80)
    show.show(console, found)
    return console.file.getvalue()


def test_everything_is_there_within_80_columns():
    text = shown(explanation())
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "Click 12345:67890:1, 2024-01-01 13:00:00 UTC",
        "user u, match key s1, p2",
        "evaluation split; mature: its window closes 2024-01-02 01:00 UTC",
        "As in the label files, byte for byte.",
        "conversion order, worth 9.5",
        "conversion late",
        "CAT class 6: linear + mechanism_2; longest path it is part of: 2 clicks",
        "mal predicts a CVR of 0.012300",
        "[top]",
        "(missing)",
        "(none)",
        "a, b",
    ):
        assert words in text
    assert "Credit for conversion late" not in text
    rows = [line.split() for line in text.split("Credit for conversion order")[1].splitlines()]
    assert ["1", "–", "–", "0.5000"] in rows and ["2", "◀", "0.0000", "0.5000", "0.2500"] in rows
    events = [line for line in text.splitlines() if "click 12345" in line or "conversion order" in line]
    assert ["+1.00" in events[2], "+1.50" in events[3]] == [True, True]


def test_many_mechanisms_are_shown_in_several_tables():
    text = shown(explanation(16))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("Credit for conversion order") == 3
    assert "32768" in text


def test_a_click_without_credit_or_model_and_one_that_differs():
    alone = Journey("u", (), explanation().journey.clicks, explanation().journey.conversions[1:])
    text = shown(
        explanation(journey=alone, split=None, why_not="context: before labels.train_from", cat=0, mature=False)
    )
    assert "in no split: context: before labels.train_from; immature" in text
    assert "No conversion is within its window" in text and "CAT class 0: no mechanism" in text
    assert "As the label job would write it." in text and "match key" not in text.split("Journey")[0]
    text = shown(explanation(differs=["label_last", "place"], changed=True))
    assert "differs from the label files in: label_last, place. Logs or config" in text
    assert "This is a bug, please report it." in shown(explanation(differs=["label_last"]))


def test_progress_appears_after_a_few_seconds_alone(monkeypatch):
    for patience, appears in ((60, False), (-1, True)):
        monkeypatch.setattr(show, "_PATIENCE", patience)
        console = Console(file=io.StringIO(), width=80, force_terminal=True)
        with show.progress(console, 100) as advance:
            advance(50)
        assert ("reading" in console.file.getvalue()) == appears
