"""The stages of a span, whose label job, training and export are small stand-ins."""

import dataclasses
import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from features.errors import BadInput, MalTfError
from mal_tf.serving.check import Checked
from mal_tf.training.delayed_feedback import DelayCurve, waits
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.config.run import dump
from pipelines.core import files, manifest
from pipelines.labels.finish import REPORT
from pipelines.retrain import blessing, checks, feedback, run, serving
from pipelines.retrain.judge import GatesConfig
from pipelines.retrain.measurement import Measurement
from pipelines.retrain.planning import Refused
from pipelines.retrain.run import plan_retraining
from pipelines.run.run import Run
from pipelines.validate import statistics
from tests.support.schedule import day, delayed, pushed

GOOD = Measurement("logs", "clicks", "rows", 5, 1, None)
BAD = Measurement("eval split", "price", "distance", 0.5, 0, 0.1)


@dataclasses.dataclass(frozen=True)
class Small(Run):
    """A run whose stages write a file each, and count."""

    def labels(self):
        output = self.path("labels")
        if not files.exists(f"{output}/{manifest.MANIFEST}"):
            files.write_text(f"{output}/{REPORT}", "{}")
            manifest.finish(output, {"made_from": "labels", "files": []})
        return output

    def statistics(self):
        return self._made("statistics", "1")

    def validate(self):
        return self._made("validate", "1")

    def train(self, name):
        return self._made(f"train/{name}", repr(self.copies))

    def export(self, name):
        version, stage = self.path("serving", name, "1"), f"export/{name}"

        def write(output):
            files.write_text(f"{version}/saved_model.pb", "candidate")
            entries = manifest.describe(output, [f"../../serving/{name}/1/saved_model.pb"])
            return {"times": self._count(stage), manifest.ELSEWHERE: entries}

        self.stages.run(stage, [manifest.made_from(self.train(name))], write)
        return version

    def _made(self, name, made_from):
        return self.stages.run(name, [made_from], lambda output: {"times": self._count(name)})

    def _count(self, name):
        path = pathlib.Path(self.path("times.json"))
        times = json.loads(path.read_text()) if path.exists() else {}
        times[name] = times.get(name, 0) + 1
        path.write_text(json.dumps(times))


@pytest.fixture
def measured(monkeypatch):
    """What checks measure; it may be changed."""
    found = [GOOD]
    monkeypatch.setattr(statistics, "load", lambda directory: directory)
    monkeypatch.setattr(checks, "check", lambda *given: list(found))
    return found


@pytest.fixture
def reasons(monkeypatch):
    """What judging finds against the candidate, and the users that judged; may be changed."""
    against, asked = [], []

    def judged(config, gates, labels, versions, output, users):
        asked.append((sorted(versions), users))
        return {"reasons": list(against), "notes": [], "all": {"clicks": 7}}

    monkeypatch.setattr(run, "judge_candidate", judged)
    monkeypatch.setattr(run, "check_export", lambda *_: Checked([]))
    return against, asked


def small(schedule, span, **more):
    """A span's retraining with stand-ins, as a fresh process would make it."""
    found = plan_retraining(*schedule, span, **more)
    return dataclasses.replace(found, run=Small(found.run.config, found.run.directory))


def times(of_span):
    return json.loads(pathlib.Path(of_span.run.path("times.json")).read_text())


def test_pushed_with_its_lineage_and_nothing_made_twice(schedule, measured, reasons):
    pushed(schedule[0], day(10), day(8), day(10))
    version = small(schedule, day(11)).push()
    again = small(schedule, day(11))
    assert again.push() == version and again.served == str(pathlib.Path(version.path).parent)
    assert set(times(again).values()) == {1}
    directory = again.run.directory
    assert version.lineage == {
        "span": "2024-01-11",
        "model": f"{directory}/serving/mal/1",
        "run": directory,
        "train": ["2024-01-09"],
        "trained_until": "2024-01-09",
        "left_out": [],
        "fit_span": "2024-01-10",
        "base": 1,
    }
    assert json.loads(pathlib.Path(directory, "pushed.json").read_text()) == {"version": version.number}
    assert pathlib.Path(version.path, "saved_model.pb").read_text() == "candidate"
    assert reasons[1] == [(["blessed", "candidate"], None)]
    assert blessing.read(f"{directory}/bless").facts == {
        "span": "2024-01-11",
        "train": ["2024-01-09"],
        "judge": "2024-01-10",
        "calibrate": [],
        "fresh": [],
        "base": 1,
        "all": {"clicks": 7},
    }


def test_a_first_run_is_judged_alone(schedule, measured, reasons):
    version = small(schedule, day(10), first=True).push()
    assert (version.number, version.lineage["base"], reasons[1]) == (1, None, [(["candidate"], None)])


def test_anomalies_stop_before_training_and_are_all_named(schedule, measured, reasons):
    measured.append(BAD)
    of_span = small(schedule, day(10), first=True)
    for stage in (of_span.check, of_span.train, of_span.push):
        with pytest.raises(Refused, match="nothing was trained") as raised:
            stage()
        assert raised.value.reasons == [str(BAD)]
    saved = json.loads(pathlib.Path(of_span.run.path("checks", "measurements.json")).read_text())
    assert [one["anomalous"] for one in saved] == [False, True]
    assert "train/mal" not in times(of_span)
    measured.clear()  # Nothing that it is made from has changed: it is not measured again.
    with pytest.raises(Refused):
        small(schedule, day(10), first=True).check()
    more = schedule[0].model_copy(update={"checks": schedule[0].checks.model_copy(update={"rows": (0, 9)})})
    small((more, schedule[1]), day(10), first=True).check()


def test_what_is_not_blessed_is_not_pushed(schedule, measured, reasons):
    pushed(schedule[0], day(10), day(8), day(10))
    reasons[0].append("auc is low")
    with pytest.raises(Refused, match="the candidate is not pushed: it is not blessed\n  auc is low"):
        small(schedule, day(11)).push()
    assert [version.number for version in serving.versions(f"{schedule[0].root}/serving")] == [1]


def test_a_failed_infra_check_says_all_reasons_and_is_tried_again(schedule, measured, reasons, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(run, "check_export", lambda *_: Checked(["it does not load"]))
        with pytest.raises(Refused, match="failed the infra check:\n  it does not load"):
            small(schedule, day(10), first=True).push()
    assert small(schedule, day(10), first=True).push().number == 1


def test_files_that_were_changed_since_are_not_pushed(schedule, measured, reasons):
    of_span = small(schedule, day(10), first=True)
    of_span.try_export()
    model, stray = (pathlib.Path(of_span.run.path(f"serving/mal/1/{name}")) for name in ("saved_model.pb", "more"))
    for path, content in ((model, "CANDIDATE"), (model, None), (stray, "more")):
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(Refused, match=rf"nothing is pushed:\n  serving/mal/1/{path.name}: "):
            small(schedule, day(10), first=True).push()
        assert serving.versions(of_span.served) == []
        model.write_text("candidate")
        stray.unlink(missing_ok=True)
    pathlib.Path(of_span.run.path("notes.txt")).write_text("kept")  # A file of somebody's does no harm.
    assert small(schedule, day(10), first=True).push().number == 1


def test_rolled_back_meanwhile(schedule, measured, reasons):
    config = schedule[0]
    pushed(config, day(10), day(8), day(10))
    pushed(config, day(11), day(9), day(10))
    of_span = small(schedule, day(12))
    of_span.bless()
    serving.rollback(f"{config.root}/serving")
    with pytest.raises(Refused, match="it is stale"):
        of_span.push()


def test_bad_input_refuses_the_span_where_the_same_config_has_read_logs_before(schedule, monkeypatch):
    def bad(self):
        raise BadInput("clicks.parquet can't be read")

    monkeypatch.setattr(Small, "labels", bad)
    with pytest.raises(BadInput) as raised:
        small(schedule, day(10), first=True).label()
    assert raised.value.exit_code == 1
    pushed(schedule[0], day(10), day(8), day(10))
    of_span = small(schedule, day(11))
    before = pathlib.Path(of_span.base.run, "config.yaml")
    with pytest.raises(BadInput):  # It can't be told.
        of_span.label()
    before.write_text(dump(of_span.run.config))
    with pytest.raises(
        Refused, match="its logs differ from earlier ones:\n  clicks.parquet can't be read\n"
    ) as refused:
        of_span.label()
    train, judge = map(str, (of_span.plan.train[0], of_span.plan.judge))
    for told in (f"trains on the clicks of {train}", f"judged on those of {judge}: provide", "to missing_days"):
        assert told in refused.value.reasons[1]
    before.write_text(before.read_text().replace("time_unit: s", "time_unit: ms"))
    with pytest.raises(BadInput):
        of_span.label()


@pytest.fixture
def fed(schedule, measured, reasons, monkeypatch):
    """With delayed feedback: a schedule whose model was trained early on the 9th and the 10th; what was asked of `measured`."""
    config, of_all = delayed(schedule)
    of_all = of_all.model_copy(update={"training": of_all.training.model_copy(update={"loss": "soft"})})
    pushed(config, day(10), day(8), day(10), fresh=["2024-01-09", "2024-01-10"], judge_users=0.2)
    base = plan_retraining(config, of_all, day(11)).base.run
    pathlib.Path(base, "config.yaml").write_text(dump(of_all))
    curve = DelayCurve(known={"last": [1.0] * 24, "mta": [1.0] * 24}, final={"last": [2.0] * 24, "mta": [2.0] * 24})
    files.write_text(f"{base}/delay/{feedback.CURVE}", curve.model_dump_json())
    asked = []

    def measure(before, early, plan, labels, config):
        asked.append((before == curve, sorted(early)))
        return before

    monkeypatch.setattr(feedback, "merge_delay", measure)
    return (config, of_all), asked, reasons


def test_with_delayed_feedback_the_newest_day_trains_and_users_left_out_judge(fed):
    schedule, asked, (_, judged) = fed
    manifest.finish(f"{schedule[0].root}/spans/2024-01-09/labels", {"made_from": "early"})
    of_span = small(schedule, day(11))
    version = of_span.push()
    assert asked == [(True, [day(9)])]
    assert (of_span.copies.begin, of_span.copies.fresh) == (day(10), (day(11),))
    assert (of_span.copies.immature.twice, of_span.copies.immature.waiting) == ((day(9), day(11)), 0.2)
    assert (version.lineage["fresh"], version.lineage["judge_users"]) == (["2024-01-10", "2024-01-11"], 0.2)
    assert judged == [(["blessed", "candidate"], 0.2)]
    assert blessing.read(of_span.run.path("bless")).facts["fresh"] == ["2024-01-11"]
    small(schedule, day(11)).push()
    assert set(times(of_span).values()) == {1}


def test_without_a_known_delay_only_final_labels_train(fed):
    (config, of_all), _, _ = fed
    other = of_all.attribution.model_copy(update={"window_hours": 20})
    of_span = small((config, of_all.model_copy(update={"attribution": other})), day(11))
    assert of_span.copies is None
    assert of_span.fresh == (day(10),)  # The base has seen it: users left out judge.


def test_back_from_delayed_feedback_to_waiting_what_was_trained_early_comes_again(fed):
    (config, of_all), asked, (_, judged) = fed
    of_span = small((config.model_copy(update={"immature": "wait"}), of_all), day(11))
    version = of_span.push()
    assert asked == [(True, [])]
    assert (of_span.copies.fresh, of_span.copies.immature.twice) == ((), (day(9),))
    assert (version.lineage["fresh"], judged) == (["2024-01-10"], [(["blessed", "candidate"], 0.2)])


def test_only_the_users_that_judge_are_judged(schedule, monkeypatch, tmp_path):
    users = np.array([f"u{number}" for number in range(400)])
    label = np.tile([0.0, 1.0], 200)
    score = np.where(waits(users, 0.2).numpy(), label, 1 - label)
    clicks = pd.DataFrame({"user_id": users, "label_last": label, "cvr_candidate": score})
    monkeypatch.setattr(labelled, "load", lambda *_: labelled.Labelled("", {"eval": Split([], [])}, {}, "", {}))
    monkeypatch.setattr(run, "score", lambda *_: clicks)
    gates = GatesConfig(pcoc=None)
    found = run.judge_candidate(schedule[1], gates, "", {}, str(tmp_path), 0.2)
    assert found["all"]["metrics"]["candidate"]["auc"] == 1.0
    assert found["all"]["clicks"] == waits(users, 0.2).numpy().sum()
    assert run.judge_candidate(schedule[1], gates, "", {}, str(tmp_path))["all"]["metrics"]["candidate"]["auc"] < 0.5


def test_an_error_in_a_stage_leaves_it_to_be_made_again(schedule, measured, reasons, monkeypatch):
    def broken(*_):
        raise MalTfError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(run, "judge_candidate", broken)
        with pytest.raises(MalTfError, match="disk full"):
            small(schedule, day(10), first=True).push()
    of_span = small(schedule, day(10), first=True)
    assert of_span.push().number == 1
    assert times(of_span)["train/mal"] == 1
