"""The delay of credit, joined from label jobs of two dates, and the days that train."""

import datetime
import gzip

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.errors import MalTfError
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.config.run import load
from pipelines.train.credit_delay import interleave, measure, select_days
from tests.support.labels import HOUR, oracle
from tests.support.project import DAY, START

FIRST = datetime.date(2023, 11, 15)


@pytest.fixture
def jobs(project):
    """Days 0 and 1 as known at the end of day 1, and final; a click of the latter has come late."""
    times = project.clicks["ts"].to_numpy().copy()
    times[1] = START + DAY + 5
    whole = project.clicks.set_column(project.clicks.schema.get_field_index("ts"), "ts", pa.array(times))
    project.clicks = whole.filter(pc.not_equal(whole["id"], 1))
    days = {
        "train_from": "2023-11-15T00:00:00Z",
        "eval_from": "2023-11-16T00:00:00Z",
        "eval_until": "2023-11-17T00:00:00Z",
    }
    project.config["labels"] |= days | {"immature": "mark", "observed_until": "2023-11-16T23:59:59Z"}
    project.write()
    project.labels("early")
    project.clicks = whole
    project.config["labels"] |= {"observed_until": "2023-11-18T00:00:00Z", "shards": 3}
    config = load(project.write())
    project.labels("final")
    return [labelled.load(str(project.folder / name), config.feature_spec) for name in ("early", "final")]


def on(job, *days):
    """The clicks of some days, 0 or 1."""
    days = [FIRST + datetime.timedelta(day) for day in days]
    return job.clicks_in(select_days(Split.joined(job.splits["train"], job.splits["eval"]), FIRST, days))


def test_joined_label_jobs(project, jobs):
    mechanisms, end = ("first", "last", "linear"), START + 2 * DAY
    found = measure(*(on(job, 1) for job in jobs), mechanisms)
    early = project.conversions.filter(pc.less(project.conversions["ts"], end))
    without = project.clicks.filter(pc.not_equal(project.clicks["id"], 1))
    for kind, clicks, conversions in (("known", without, early), ("final", project.clicks, project.conversions)):
        credit, expected = oracle(clicks, conversions, 12 * HOUR), {name: np.zeros(24) for name in mechanisms}
        for click in without.to_pylist():
            if START + DAY <= click["ts"] < end:
                for name in mechanisms:
                    hour = (click["ts"] - START - DAY) // HOUR
                    expected[name][hour] += credit[click["id"]][f"label_{name}"]
        for name in mechanisms:
            np.testing.assert_allclose(getattr(found, kind)[name], expected[name], atol=1e-5)
    assert 0 < sum(found.known["first"]) < sum(found.final["first"])
    assert found.known["last"][:12] == found.final["last"][:12]  # Their window of 12 hours closed before midnight.


def test_both_days_are_each_days_sum(jobs):
    of_days = [measure(*(on(job, day) for job in jobs), ("last",)) for day in (0, 1)]
    assert of_days[0].merged(of_days[1]) == measure(*(on(job, 0, 1) for job in jobs), ("last",))


def test_other_days_are_refused(jobs):
    early, final = jobs
    with pytest.raises(MalTfError, match="expected the same days in early and final labels, found 1 and 2"):
        measure(on(early, 0), on(final, 0, 1), ("last",))
    with pytest.raises(MalTfError, match="expected the clicks of one day in the segments of .*early.* and .*final"):
        measure(on(early, 0, 1), on(final, 1, 0), ("last",))


def test_training_days_by_hand():
    matured, fresh = Split([["a", "b"], ["c", "d"]], [[1, 2], [3, 4]]), Split([["e"]], [[5]])
    second = FIRST + datetime.timedelta(1)
    chosen = Split.joined(select_days(matured, FIRST, [second, FIRST]), select_days(fresh, second, [second]))
    assert chosen == Split([["c", "d"], ["a", "b"], ["e"]], [[3, 4], [1, 2], [5]])
    with pytest.raises(MalTfError, match="clicks of 2023-11-17 .* found those of 2023-11-15 to 2023-11-16"):
        select_days(matured, FIRST, [FIRST + datetime.timedelta(2)])


def test_the_newest_mature_day_and_the_fresh_one_train_in_turns(tmp_path):
    matured, fresh = Split([["a"], ["b", "c"], ["empty"]], [[1], [2, 3], [0]]), Split([["d", "e"]], [[4, 5]])
    assert interleave(matured, fresh) == Split([["a"], ["b", "c", "d", "e"]], [[1], [2, 3, 4, 5]])
    assert interleave(Split([], []), fresh) == fresh


def test_a_day_without_clicks_adds_nothing(jobs, tmp_path):
    (tmp_path / "none.gz").write_bytes(gzip.compress(b""))
    (day, nothing), last = (on(jobs[0], 0), on(jobs[0], 0).in_file(str(tmp_path / "none.gz"), 0)), ("last",)
    assert sum(measure(day, day, last).final["last"]) > 0
    for pair in ((nothing, day), (day, nothing), (nothing, nothing)):
        assert sum(measure(*pair, last).final["last"]) == 0
