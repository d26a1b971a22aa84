import datetime
import pathlib

import pytest

from benchmarks import delayed_feedback
from benchmarks.delayed_feedback import DELAYED, FRESH_LAST, IGNORE, ORACLE, UNWEIGHTED, WAIT, at_the_end_of
from mal_tf.training.delayed_feedback import AsFinal, DelayCurve, DelayedFeedback
from mal_tf.training.split import Split


class Days:
    """Days that are known by their names, with a window of two."""

    window = 2

    def known(self, day):
        return Split([[f"known {day}"]], [[1]])

    def final(self, day):
        return Split([[f"final {day}"]], [[1]])

    def date(self, day):
        return datetime.date(2024, 1, 1 + day)

    def curve(self, day):
        return DelayCurve(known={}, final={})


def test_what_trains_at_the_end_of_a_day():
    plan = {way: at_the_end_of(5, way, Days()) for way in delayed_feedback.WAYS}
    names = {way: split.segments for way, (split, _) in plan.items()}
    of_one = {WAIT: [["final 3"]], IGNORE: [["known 5"]], ORACLE: [["final 5"]]}
    in_turns, one_by_one = [["final 3", "known 5"]], [["final 3"], ["known 5"]]
    assert names == of_one | {UNWEIGHTED: in_turns, DELAYED: in_turns, FRESH_LAST: one_by_one}
    immature = {way: how for way, (_, how) in plan.items()}
    assert immature[WAIT] is None is immature[ORACLE]
    assert immature[IGNORE] == immature[UNWEIGHTED] == AsFinal()
    weighted = DelayedFeedback(Days().curve(5), [Days().date(day) for day in (2, 3, 4, 5)])
    assert immature[DELAYED] == immature[FRESH_LAST] == weighted
    early = [way for way in delayed_feedback.WAYS if at_the_end_of(1, way, Days())]
    assert early == [IGNORE, ORACLE]


def test_tables_by_hand():
    days = [{"AUC": 0.6, "log-loss": 0.2, "PCOC": 1.0}, {"AUC": 0.8, "log-loss": 0.2, "PCOC": 1.0}]
    other = [{"AUC": 0.7, "log-loss": 0.1, "PCOC": 0.5}, {"AUC": 0.7, "log-loss": 0.2, "PCOC": 0.5}]
    rows = delayed_feedback.results_table({WAIT: days, IGNORE: other}, "").rows
    assert rows == [
        [WAIT, "0.7000", "", "0.2000", "", "1.0000", ""],
        [IGNORE, "0.7000", "-0.0000 ± 0.1000", "0.1500", "-0.0500 ± 0.0500", "0.5000", "-0.5000 ± 0.0000"],
    ]
    curve = DelayCurve(known={"last": [1.0] * 12 + [2.0] * 12}, final={"last": [4.0] * 24})
    assert delayed_feedback.delay_table(curve).rows == [("last", "62%", *["75%"] * 3, *["50%"] * 3)]


@pytest.mark.slow
def test_a_small_market(tmp_path, monkeypatch):
    market = pathlib.Path(delayed_feedback.MARKET).read_text().replace("window_hours: 168", "window_hours: 24")
    (tmp_path / "market.yaml").write_text(market)
    monkeypatch.setattr(delayed_feedback, "MARKET", str(tmp_path / "market.yaml"))
    found = tmp_path / "found.md"
    delayed_feedback.main(tmp_path, clicks=8000, days=8, model="base", set_=[], markdown=found)
    lines = found.read_text().splitlines()
    assert all(any(line.startswith(f"| {way} |") for line in lines) for way in delayed_feedback.WAYS)
    assert "Means over 2 days" in found.read_text()
