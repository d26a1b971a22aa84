"""What trains in a span with delayed feedback; the delay itself is `test_delay`'s."""

import datetime
import shutil

import pytest
import yaml

from mal_tf.training.delayed_feedback import DelayCurve, DelayedFeedback
from mal_tf.training.split import Split
from pipelines.config.run import dump, load
from pipelines.core import manifest
from pipelines.retrain import feedback, spans
from pipelines.train.credit_delay import Copies

DAYS = [datetime.date(2023, 11, day) for day in (15, 16, 17)]

#: The span that ends with the third day, the second one's labels being final.
PLAN = spans.SpanPlan(DAYS[2], (DAYS[1],), DAYS[2], tuple(DAYS), fresh=(DAYS[2],))


def curve(known, final, mechanisms=("first", "last", "linear", "mta")):
    """A curve of clicks of one hour."""
    of_each = [dict.fromkeys(mechanisms, (credit, *[0.0] * 23)) for credit in (known, final)]
    return DelayCurve(known=of_each[0], final=of_each[1])


@pytest.fixture
def label(project):
    """A function that labels a day as it is known at its end, and the day before; gives the config."""

    def label(day, **attribution):
        project.config["labels"] = {
            "train_from": f"{day - datetime.timedelta(1)}T00:00:00Z",
            "eval_from": f"{day}T00:00:00Z",
            "observed_until": f"{day}T23:59:59Z",
            "immature": "mark",
            "segment_hours": 24,
        }
        project.config["attribution"] |= attribution
        config, run = load(project.write()), project.folder / "spans" / str(day)
        shutil.rmtree(run, ignore_errors=True)
        project.labels(f"spans/{day}/labels")
        (run / "config.yaml").write_text(dump(config))
        return config

    return label


@pytest.fixture
def two_spans(project, label):
    """Both are labelled by rules; the config."""
    project.config["attribution"]["mechanisms"] = [{"name": name, "type": name} for name in ("first", "last")]
    label(DAYS[1])
    return label(DAYS[2])


def test_the_delay_goes_on_from_the_days_before(project, two_spans):
    root = str(project.folder)
    early = feedback.early_runs(root, PLAN.train)
    assert early == {DAYS[1]: f"{root}/spans/2023-11-16"}
    labels = f"{root}/spans/2023-11-17/labels"
    found = feedback.merge_delay(None, early, PLAN, labels, two_spans)
    assert 0 < sum(found.known["first"]) < sum(found.final["first"])
    before = curve(1.0, 2.0, ("first", "last"))
    assert feedback.merge_delay(before, early, PLAN, labels, two_spans) == before.merged(found)
    assert feedback.merge_delay(before, {}, PLAN, labels, two_spans) == before


def test_a_day_that_was_labelled_otherwise_is_not_measured(project, two_spans):
    root = str(project.folder)
    early, labels = feedback.early_runs(root, PLAN.train), f"{root}/spans/2023-11-17/labels"
    path = project.folder / "spans" / str(DAYS[1]) / "config.yaml"
    then = yaml.safe_load(path.read_text())
    then["attribution"]["window_hours"] = 6
    path.write_text(yaml.safe_dump(then))
    assert feedback.merge_delay(None, early, PLAN, labels, two_spans) is None


def test_a_day_of_another_fit_is_not_measured(project, label):
    label(DAYS[1])
    root = str(project.folder)
    early, labels = feedback.early_runs(root, PLAN.train), f"{root}/spans/2023-11-17/labels"
    config = label(DAYS[2])
    assert feedback.merge_delay(None, early, PLAN, labels, config) is None
    reused = label(DAYS[2], fit_from=f"{early[DAYS[1]]}/labels")
    assert feedback.merge_delay(None, early, PLAN, labels, reused).measures("mta")


def test_a_span_without_labels_has_none_to_measure(tmp_path):
    (tmp_path / "spans" / str(DAYS[0]) / "labels").mkdir(parents=True)  # It was killed.
    assert feedback.early_runs(str(tmp_path), DAYS) == {}
    assert feedback.read_curve(f"{tmp_path}/spans/{DAYS[0]}") is None


def test_a_day_with_anomalies_is_not_measured(tmp_path, monkeypatch):
    labels = tmp_path / "spans" / str(DAYS[0]) / "labels"
    labels.mkdir(parents=True)
    (labels / manifest.MANIFEST).write_text("{}")
    assert list(feedback.early_runs(str(tmp_path), DAYS)) == [DAYS[0]]
    monkeypatch.setattr(
        feedback, "anomalies_of", lambda _: ["logs, conversions: rows on 2023-11-15: 3, expected 10 to 40"]
    )
    assert feedback.early_runs(str(tmp_path), DAYS) == {}


def test_days_that_were_trained_on_early_and_the_newest_come_twice(project):
    config = load(project.write())
    plan = spans.SpanPlan(DAYS[2], (DAYS[0], DAYS[1]), DAYS[1], tuple(DAYS), fresh=(DAYS[2],))
    found = feedback.copies(curve(1.0, 2.0), plan, [DAYS[1]], config, 0.1)
    immature = DelayedFeedback(curve(1.0, 2.0), (DAYS[1], DAYS[2]), 1, 0.1)
    assert found == Copies(DAYS[1], (DAYS[2],), immature)
    splits = {"train": Split([["a"], ["b"], ["c"]], [[1], [2], [0]]), "eval": Split([["d"], ["e", "f"]], [[4], [5, 6]])}
    assert found.training_split(splits) == Split([["a"], ["b", "e", "f"]], [[1], [2, 5, 6]])


def test_nothing_trains_early_before_the_delay_of_each_target_is_known(project):
    config = load(project.write())
    assert feedback.copies(None, PLAN, (), config, 0.1) is None
    assert feedback.copies(curve(0.0, 0.0), PLAN, (), config, 0.1) is None
    assert feedback.copies(curve(1.0, 2.0, ("first", "last", "linear")), PLAN, (), config, 0.1) is None
