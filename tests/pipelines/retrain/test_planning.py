"""Which base, days and fit a span gets, by what lies under the root; the stages themselves are the end-to-end test's."""

import datetime
import json
import pathlib

import pytest

from features.errors import Interrupted, MalTfError
from pipelines.config.run import CalibrationConfig
from pipelines.retrain import blessing, serving
from pipelines.retrain.planning import Refused, pushed_before, trailing_reports
from pipelines.retrain.run import plan_retraining
from pipelines.retrain.spans import days
from tests.support.schedule import MADE_FOR, day, delayed, pushed


def calibrated(schedule):
    """The schedule with a run that is calibrated on a day."""
    config, run = schedule
    return config, run.model_copy(update={"calibration": CalibrationConfig(method="platt")})


def refused(config, span, train, judge, anomalies=(), reasons=("bad",), calibrate=(), **facts):
    """Leaves a span that was refused for anomalies, or by the gates."""
    directory = f"{config.root}/spans/{span}"
    pathlib.Path(directory, "checks").mkdir(parents=True)
    planned = {"train": list(map(str, train)), "calibrate": list(map(str, calibrate)), "judge": str(judge)}
    pathlib.Path(directory, "plan.json").write_text(json.dumps(planned))
    result = {"made_from": "x", "result": {"anomalies": list(anomalies)}}
    pathlib.Path(directory, "checks", "manifest.json").write_text(json.dumps(result))
    if not anomalies:
        blessing.write(f"{directory}/bless", list(reasons), facts)


def test_first_span(schedule):
    found = plan_retraining(*schedule, day(10), first=True)
    assert found.base is None
    assert (found.plan.train, found.plan.judge) == (tuple(days(day(1), day(8))), day(9))
    assert found.run.config.training.warm_start is None
    assert found.run.config.attribution.fit_from is None
    assert found.fit_span == day(10)


def test_a_first_span_has_to_be_asked_for_and_only_once(schedule):
    with pytest.raises(MalTfError, match="needs --first"):
        plan_retraining(*schedule, day(10))
    pushed(schedule[0], day(10), day(8), day(10))
    with pytest.raises(MalTfError, match="serves the model of span 2024-01-10; leave out --first"):
        plan_retraining(*schedule, day(11), first=True)


def test_goes_on_from_what_serves_with_its_fit(schedule):
    config = schedule[0]
    pushed(config, day(10), day(8), day(10))
    found = plan_retraining(*schedule, day(11))
    assert (found.plan.train, found.plan.judge, found.base.version.number) == ((day(9),), day(10), 1)
    assert found.run.config.training.warm_start == f"{config.root}/spans/2024-01-10/train/mal"
    assert found.run.config.labels.grow_from == f"{config.root}/spans/2024-01-10/labels"
    assert (found.run.config.attribution.fit_from, found.fit_span) == (
        f"{config.root}/spans/2024-01-10/labels",
        day(10),
    )


def test_attribution_is_fitted_anew_when_the_fit_is_old(schedule):
    pushed(schedule[0], day(16), day(14), day(10))
    found = plan_retraining(*schedule, day(17))
    assert (found.fit_span, found.run.config.attribution.fit_from) == (day(17), None)


def test_a_rolled_back_model_is_what_the_next_span_starts_from(schedule):
    config = schedule[0]
    pushed(config, day(10), day(8), day(10))
    pushed(config, day(11), day(9), day(10))
    serving.rollback(f"{config.root}/serving")
    found = plan_retraining(*schedule, day(12))
    assert (found.base.span, found.base.version.number, found.plan.train) == (day(10), 3, (day(9), day(10)))


def test_an_earlier_span_starts_from_what_was_before_it(schedule):
    pushed(schedule[0], day(10), day(8), day(10))
    pushed(schedule[0], day(14), day(12), day(10))
    found = plan_retraining(*schedule, day(12))
    assert (found.base.span, found.plan.train) == (day(10), (day(9), day(10)))


def test_days_of_refused_candidates_and_with_anomalies_are_left_out(schedule):
    config = schedule[0]
    pushed(config, day(10), day(8), day(10))
    refused(config, day(11), [day(9)], day(10))
    refused(config, day(12), [day(10)], day(11), anomalies=["eval split against train split, city: far"])
    found = plan_retraining(*schedule, day(14))
    assert found.plan.train == (day(10), day(12))
    assert found.run.config.labels.without_days == (day(11),)
    retried = plan_retraining(config.model_copy(update={"after_refusal": "retry"}), schedule[1], day(14))
    assert retried.plan.train == (day(9), day(10), day(11), day(12))


def test_refusals_before_what_serves_count_no_more(schedule):
    refused(schedule[0], day(9), [day(7)], day(8))
    pushed(schedule[0], day(10), day(8), day(10))
    assert plan_retraining(*schedule, day(11)).plan.train == (day(9),)


def test_days_that_a_refused_candidate_was_calibrated_on_are_left_out_too(schedule):
    config = schedule[0]
    pushed(config, day(10), day(7), day(10))
    refused(config, day(11), [day(8)], day(10), calibrate=[day(9)])
    found = plan_retraining(*calibrated(schedule), day(13)).plan
    assert (found.train, found.calibrate, found.judge) == ((day(10),), (day(11),), day(12))


def test_a_spoilt_day_after_the_last_that_trained_does_not_come_back_once_a_later_span_is_pushed(schedule):
    """Its span was refused for the 10th; the next one, calibrated on the 9th and the 11th, was pushed."""
    config = schedule[0]
    pushed(config, day(10), day(7), day(10))
    refused(config, day(11), [day(8)], day(10), anomalies=["eval split against train split, city: far"])
    two = config, schedule[1].model_copy(update={"calibration": CalibrationConfig(method="platt", segments=2)})
    found = plan_retraining(*two, day(13)).plan
    assert (found.train, found.calibrate, found.left_out) == ((day(8),), (day(9), day(11)), (day(10),))
    pushed(config, day(13), day(8), day(10), left_out=[str(day(10))])
    later = plan_retraining(*two, day(14))
    assert later.base.left_out == (day(10),)
    assert (later.plan.train, later.plan.calibrate) == ((day(9),), (day(11), day(12)))
    assert later.run.config.labels.without_days == (day(10),)
    retried = plan_retraining(config.model_copy(update={"after_refusal": "retry"}), two[1], day(14))
    assert retried.plan.train == (day(9), day(10))


def test_a_first_calibration_waits_for_a_day_to_train_on(schedule):
    pushed(schedule[0], day(10), day(8), day(10))
    with pytest.raises(Refused, match=r"no new day to train on\n.*\n  held out for calibration .*: 2024-01-09"):
        plan_retraining(*calibrated(schedule), day(11))
    found = plan_retraining(*calibrated(schedule), day(12)).plan
    assert (found.train, found.calibrate) == ((day(9),), (day(10),))


def test_a_day_that_has_not_ended(schedule):
    tomorrow = datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=1)
    with pytest.raises(Interrupted, match="this machine's clock says"):
        plan_retraining(*schedule, tomorrow, first=True)


def test_a_version_that_others_made(schedule, tmp_path):
    version = tmp_path / "out" / "serving" / "5"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    with pytest.raises(MalTfError, match="expected a version that `mal-tf retrain` pushed.*: no 'run'"):
        plan_retraining(*schedule, day(10))
    lineage = {"run": "run", "span": "2024-01-09", "trained_until": "2024-01-08", "fit_span": "2024-02-30"}
    (version / serving.LINEAGE).parent.mkdir()
    for wrong in ({}, {"fit_span": "2024-01-08", "left_out": ["8 January"]}, {"fit_span": 8}):
        (version / serving.LINEAGE).write_text(json.dumps(lineage | wrong))
        with pytest.raises(MalTfError, match="pushed, found in its .*lineage.json: "):
            plan_retraining(*schedule, day(10))


def test_attribution_is_fitted_anew_when_its_settings_are_others(schedule):
    pushed(schedule[0], day(10), day(8), day(10), MADE_FOR | {"window_hours": 48})
    found = plan_retraining(*schedule, day(11))
    assert (found.fit_span, found.run.config.attribution.fit_from) == (day(11), None)


def test_a_span_without_a_new_day_is_refused_before_anything_runs(schedule):
    pushed(schedule[0], day(10), day(9), day(10))
    with pytest.raises(Refused, match="no new day to train on\n  the serving model has been trained up to 2024-01-09"):
        plan_retraining(*schedule, day(11))
    refused(schedule[0], day(11), [day(10)], day(11))
    with pytest.raises(Refused, match=r"left out .*2024-01-10"):
        plan_retraining(*schedule, day(12))


def test_a_first_run_that_was_refused_loses_no_day(schedule):
    refused(schedule[0], day(10), days(day(1), day(8)), day(9))
    assert plan_retraining(*schedule, day(11), first=True).plan.train == tuple(days(day(1), day(9)))


def test_marked_clicks_do_not_blame_the_day_that_judges(schedule):
    config = schedule[0].model_copy(update={"immature": "mark"})
    pushed(config, day(10), day(8), day(10))
    refused(config, day(11), [day(9)], day(10), anomalies=["eval split against train split, city: far"])
    assert plan_retraining(config, schedule[1], day(12)).plan.train == (day(9), day(10))


def test_the_days_that_a_model_was_trained_on_early_go_on_with_it(schedule):
    schedule, serving_of = delayed(schedule), f"{schedule[0].root}/serving"
    pushed(schedule[0], day(10), day(8), day(10), fresh=["2024-01-09", "2024-01-10"], judge_users=0.2)
    found = plan_retraining(*schedule, day(11))
    assert (found.base.fresh, found.plan.train, found.plan.fresh) == ((day(9), day(10)), (day(9),), (day(11),))
    pushed(schedule[0], day(11), day(9), day(10), fresh=["2024-01-10", "2024-01-11"], judge_users=0.2)
    serving.rollback(serving_of)
    assert plan_retraining(*schedule, day(12)).base.fresh == (day(9), day(10))


def test_other_users_can_not_judge_on_days_that_were_trained_on_early(schedule):
    for_all = pushed(schedule[0], day(10), day(8), day(10), fresh=["2024-01-10"], judge_users=0.1)
    assert for_all == 1
    for config, run in (schedule, delayed(schedule)):
        with pytest.raises(MalTfError, match=r"judge_users: expected 0.1, found 0.2: .*2024-01-10"):
            plan_retraining(config, run, day(11))
        plan_retraining(config.model_copy(update={"judge_users": 0.1}), run, day(11))


def test_with_delayed_feedback_anomalies_are_those_of_the_days_that_no_clean_span_has_read(schedule):
    config, run = delayed(schedule)
    anomaly = ["eval split against the last good run's eval split, city: far"]
    pushed(config, day(10), day(8), day(10))
    refused(config, day(11), [day(9)], day(10), reasons=(), anomalies=())
    for number in (13, 14):
        refused(config, day(number), [day(number - 2)], day(number - 1), anomalies=anomaly)
    found = plan_retraining(config, run, day(15)).plan
    assert (found.train, found.judge, found.spoilt) == ((day(9), day(10)), day(11), (day(12), day(13), day(14)))


def test_with_delayed_feedback_the_early_copy_of_a_refused_candidate_counts(schedule):
    config, run = delayed(schedule)
    pushed(config, day(10), day(8), day(10))
    refused(config, day(11), [day(9)], day(10), fresh=["2024-01-11"])
    with pytest.raises(Refused, match=r"left out .*2024-01-09, 2024-01-11"):
        plan_retraining(config, run, day(12))  # The 11th would judge.
    assert plan_retraining(config, run, day(13)).plan.train == (day(10),)


def test_a_span_is_pushed_once(schedule):
    config = schedule[0]
    assert pushed_before(config.root, day(10)) is None
    pushed(config, day(10), day(8), day(10))
    assert pushed_before(config.root, day(10)) == 1
    assert pushed_before(config.root, day(11)) is None
    pushed(config, day(12), day(10), day(10))
    assert pushed_before(config.root, day(10)) == 1
    with pytest.raises(Refused, match="the model of the later span 2024-01-12 serves"):
        pushed_before(config.root, day(11))


def test_a_span_is_pushed_once_though_its_version_is_gone(schedule):
    config = schedule[0]
    for number in (10, 11):
        pushed(config, day(number), day(number - 2), day(10))
        pathlib.Path(config.root, "spans", str(day(number)), "pushed.json").write_text(
            json.dumps({"version": number - 9})
        )
    serving.retain(f"{config.root}/serving", 1)
    assert pushed_before(config.root, day(10)) == 1


def test_a_span_that_was_rolled_back_does_not_come_back_by_itself(schedule):
    config = schedule[0]
    pushed(config, day(10), day(8), day(10))
    pushed(config, day(11), day(9), day(10))
    serving.rollback(f"{config.root}/serving")
    with pytest.raises(
        Refused, match="version 2, was rolled back, and that of span 2024-01-10 serves. .*roll back to 2"
    ):
        pushed_before(config.root, day(11))
    assert pushed_before(config.root, day(10)) == 1


def test_only_clean_days_are_what_later_ones_are_compared_with(schedule):
    config = schedule[0]
    for number, anomalies in ((10, []), (11, ["logs, clicks: rows on 2024-01-11: 3"]), (12, [])):
        directory = pathlib.Path(config.root, "spans", str(day(number)))
        for name, content in (
            ("labels/label_report.json", {"span": number}),
            ("checks/manifest.json", {"made_from": "x", "result": {"anomalies": anomalies}}),
        ):
            (directory / name).parent.mkdir(parents=True)
            (directory / name).write_text(json.dumps(content))
    for name in ("2024-01-1X", "2024-02-30", "0000-01-01"):  # Somebody's: they are no days.
        pathlib.Path(config.root, "spans", name).mkdir()
    assert trailing_reports(config.root, day(13)) == [{"span": 10}, {"span": 12}]
    assert trailing_reports(config.root, day(12)) == [{"span": 10}]
