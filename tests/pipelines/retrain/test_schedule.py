import datetime
import errno

import pytest

from features.errors import MalTfError
from pipelines.core import locks
from pipelines.retrain import schedule
from pipelines.retrain.planning import Refused
from pipelines.retrain.spans import MissingLog
from tests.pipelines.retrain.stores import in_memory
from tests.support.schedule import day, pushed


def test_a_full_disk_is_said_without_a_traceback(loaded, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks, "lock", full)
    with pytest.raises(MalTfError, match="span 2024-01-10: .*No space left on device.*the serving model is unchanged"):
        schedule.retrain(*loaded, datetime.date(2024, 1, 10), first=True)


@pytest.fixture
def history(monkeypatch):
    """What is recorded, in memory."""
    found = in_memory()
    monkeypatch.setattr(schedule, "open_history", lambda *_: found)
    return found


def test_a_span_refused_before_it_begins_is_in_the_history(loaded, history):
    config = loaded[0]
    pushed(config, day(10), day(8), day(10))
    pushed(config, day(12), day(10), day(10))
    with pytest.raises(Refused, match="the model of the later span 2024-01-12 serves"):
        schedule.retrain(*loaded, day(11))
    assert schedule.retrain(*loaded, day(12)) is None
    ((span, outcome, reasons),) = [(run.span, run.outcome, run.reasons) for run in history.runs()]
    assert (span, outcome) == ("2024-01-11", "refused")
    assert "the later span" in reasons[0]


def test_a_backfill_goes_on_after_a_refusal_and_stops_at_an_error(loaded, history, monkeypatch):
    config = loaded[0]
    pushed(config, day(10), day(8), day(10))
    found = {
        11: Refused("its logs differ from earlier ones:", ["damaged"]),
        12: MissingLog("no log"),
        13: MalTfError("x"),
    }

    def plan_retraining(config, run, span, first):
        raise found[span.day]

    monkeypatch.setattr(schedule, "plan_retraining", plan_retraining)
    results = schedule.backfill(*loaded, [day(number) for number in found])
    assert [next(results), next(results)] == [(day(11), found[11]), (day(12), found[12])]
    with pytest.raises(MalTfError, match="x"):
        next(results)
    assert [(run.outcome, list(run.reasons)) for run in history.runs()] == [
        ("refused", ["damaged"]),
        ("refused", ["no log"]),
        ("failed", ["x"]),
    ]
