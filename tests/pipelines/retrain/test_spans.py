import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import MalTfError
from pipelines.config.run import RunConfig
from pipelines.retrain import spans

DAY = datetime.timedelta(days=1)
FIRST = datetime.date(2024, 1, 1)


def day(number):
    return datetime.date(2024, 1, number)


def plan(span, first_day, window_hours, context_days, trained_until, left_out=(), **calendar):
    return spans.Calendar(first_day, window_hours, context_days, **calendar).plan(span, trained_until, left_out)


def test_first_plan_by_hand():
    # At the end of the 11th, windows of 72 h have closed for all clicks up to the end of the 8th.
    found = plan(day(11), FIRST, 72, 3, None)
    assert found.judge == day(8)
    assert found.train == tuple(map(day, range(1, 8)))
    assert found.logs == tuple(map(day, range(1, 12)))


def test_next_plan_goes_on_after_the_last_with_context():
    found = plan(day(12), FIRST, 72, 3, day(7))
    assert (found.train, found.judge) == ((day(8),), day(9))
    assert found.logs == tuple(map(day, range(5, 13)))


@pytest.mark.parametrize(("hours", "judge"), [(24, 10), (1, 10), (25, 9), (47.5, 9), (48, 9), (49, 8)])
def test_judged_on_the_newest_day_whose_windows_have_closed(hours, judge):
    assert plan(day(11), FIRST, hours, 3, day(2)).judge == day(judge)


def test_days_left_out_neither_train_nor_come_back():
    found = plan(day(15), FIRST, 72, 3, day(7), [day(8), day(10)])
    assert found.train == (day(9), day(11))


def test_days_without_logs_and_those_whose_windows_reach_into_them_neither_train_nor_judge():
    # Conversions of the 9th are lost: with 48 h, clicks of the 7th and the 8th may lack some. The 8th would judge next.
    found = plan(day(10), FIRST, 48, 2, day(4), missing=[day(9)])
    assert (found.train, found.judge) == ((day(5),), day(6))
    later = plan(day(13), FIRST, 48, 2, day(4), missing=[day(9)])
    assert (later.train, later.judge) == ((day(5), day(6), day(10)), day(11))


def test_the_last_days_that_could_train_calibrate_and_train_in_the_next_span():
    found = plan(day(11), FIRST, 24, 1, day(4), [day(8)], held_out=2)
    assert (found.train, found.calibrate, found.judge) == ((day(5), day(6)), (day(7), day(9)), day(10))
    assert spans.facts_for_later(found) == {"trained_until": "2024-01-06", "left_out": ["2024-01-08"]}
    later = plan(day(12), FIRST, 24, 1, day(6), [day(8)], held_out=2)
    assert (later.train, later.calibrate, later.judge) == ((day(7),), (day(9), day(10)), day(11))


def test_without_calibration_all_is_handed_on_up_to_the_day_that_judges():
    assert spans.facts_for_later(plan(day(11), FIRST, 24, 1, day(4), [day(8)])) == {
        "trained_until": "2024-01-09",
        "left_out": [],
    }


def test_too_few_new_days_to_train_and_to_calibrate():
    found = plan(day(12), FIRST, 24, 1, day(9), held_out=1)
    assert (found.train, found.calibrate) == ((), (day(10),))
    with pytest.raises(MalTfError, match=r"a day to train on, 2 to be calibrated on and a day .* is 2024-01-07"):
        plan(day(6), FIRST, 72, 3, None, held_out=2)
    assert plan(day(7), FIRST, 72, 3, None, held_out=2).calibrate == (day(2), day(3))


def test_nothing_new():
    assert plan(day(12), FIRST, 72, 3, day(8)).train == ()


def test_logs_too_short():
    with pytest.raises(MalTfError, match=r"begin on 2024-01-01.*first span.*2024-01-05"):
        plan(day(4), FIRST, 72, 3, None)
    assert plan(day(5), FIRST, 72, 3, None).train == (day(1),)


def test_with_delayed_feedback_the_newest_day_trains_too():
    found = plan(day(12), FIRST, 72, 3, day(7), delayed=True)
    assert (found.train, found.judge, found.fresh, found.spoilt) == ((day(8),), day(9), (day(12),), ())
    assert plan(day(12), FIRST, 72, 3, day(7)).fresh == ()


def test_with_delayed_feedback_days_left_out_do_not_judge_and_are_in_no_split():
    found = plan(day(12), FIRST, 72, 3, day(5), [day(7), day(9), day(11)], delayed=True)
    assert (found.train, found.judge, found.spoilt) == ((day(6),), day(8), (day(9), day(11)))


def test_a_day_whose_conversions_will_not_all_be_known_does_not_train_fresh():
    found = plan(day(12), FIRST, 72, 3, day(7), missing=[day(14)], delayed=True)
    assert (found.train, found.fresh) == ((day(8),), ())


@given(st.integers(1, 40), st.floats(0.5, 400), st.sets(st.integers(0, 29)))
def test_with_delayed_feedback_every_day_trains_at_most_once_fresh_and_once_final(begin, hours, failed):
    """With spans that never ran: a day that trains fresh trains once more, later, and judges nobody before it has."""
    fresh, final, until = [], [], None
    for number, span in enumerate(spans.days(FIRST + begin * DAY, FIRST + (begin + 29) * DAY)):
        if number in failed:
            continue
        try:
            found = plan(span, FIRST, hours, 1, until, delayed=True)
        except MalTfError:
            assert not final
            continue
        assert not {*found.fresh} & {*final, *found.train} and found.judge not in (*final, *found.train)
        assert found.fresh == (span,) and found.judge < span
        if found.train:  # Otherwise the span is refused.
            fresh, final, until = [*fresh, *found.fresh], [*final, *found.train], found.judge - DAY
    assert len({*fresh}) == len(fresh) and final == (spans.days(FIRST, final[-1]) if final else [])


@given(st.integers(0, 40), st.floats(0.5, 400), st.integers(0, 30), st.integers(0, 3))
def test_every_day_trains_once_over_a_season(begin, hours, context, held_out):
    """Going on daily, no day is trained on twice, none is judged or calibrated on after it was trained on, none is missed."""
    trained, until = [], None
    for span in spans.days(FIRST + begin * DAY, FIRST + (begin + 30) * DAY):
        try:
            found = plan(span, FIRST, hours, context, until, held_out=held_out)
        except MalTfError:
            assert not trained
            continue
        assert found.judge not in trained and found.judge not in found.train
        assert spans.midnight(found.judge + DAY) + datetime.timedelta(hours=hours) <= spans.midnight(span + DAY)
        trained += found.train
        assert len(found.calibrate) == held_out and not {*found.calibrate} & {*trained, found.judge}
        until = datetime.date.fromisoformat(spans.facts_for_later(found)["trained_until"])
    assert trained == spans.days(FIRST, trained[-1]) if trained else True


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("", "", ""), [day(9)]),
        (("2024-01-03", "", ""), [day(3)]),
        (("", "2024-01-03", "2024-01-05"), [day(3), day(4), day(5)]),
    ],
)
def test_spans_of_the_command_line(asked, expected):
    assert spans.requested_spans(*asked, today=day(10)) == expected


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("x", "", ""), "--span: expected a day such as .*, found 'x'"),
        (("2024-13-01", "", ""), "--span: .* found '2024-13-01'"),
        (("20240103", "", ""), "--span: .* found '20240103'"),
        (("9999-12-31", "", ""), "--span: .* found '9999-12-31'"),
        (("0001-01-01", "", ""), "--span: .* found '0001-01-01'"),
        (("", "2024-01-03", "2024-02-30"), "--to: .* found '2024-02-30'"),
        (("", "2024-01-03", ""), "--from and --to together"),
        (("2024-01-03", "2024-01-03", "2024-01-03"), "--span alone"),
        (("", "2024-01-03", "2024-01-02"), "is before --from"),
    ],
)
def test_wrong_spans_of_the_command_line(asked, reason):
    with pytest.raises(MalTfError, match=reason):
        spans.requested_spans(*asked)


def config(tmp_path, model=None, **sources):
    columns = {"user_id": "user", "timestamp": "time", "match_key": "shop"}
    clicks = {"files": [f"{tmp_path}/c-{{date}}.parquet"], "columns": columns | {"click_id": "id"}}
    conversions = {"files": [f"{tmp_path}/all.parquet"], "columns": columns | {"conversion_id": "id"}}
    return RunConfig.model_validate(
        {
            "name": "daily",
            "sources": {"adapter": "tables", "time_unit": "s", "clicks": clicks, "conversions": conversions} | sources,
            "features": [{"type": "categorical", "name": "shop"}],
            "attribution": {
                "window_hours": 24,
                "mechanisms": [{"name": name, "type": name} for name in ("last", "first")],
            },
            "labels": {"eval_from": "2000-01-01T00:00:00Z", "shards": 3},
            "model": model or {"name": "mal", "primary": "last", "compare_with": ["base"]},
        }
    )


def test_config_of_a_span(tmp_path):
    for number in (2, 3, 4, 5):
        (tmp_path / f"c-2024-01-0{number}.parquet").touch()
    planned = plan(day(5), FIRST, 24, 1, day(2), [])
    assert (planned.train, planned.judge, planned.logs) == ((day(3),), day(4), (day(2), day(3), day(4), day(5)))
    found = spans.span_config(config(tmp_path), planned, "drop", base="/earlier", fit_from="/fitted")
    assert found.sources.clicks.files == tuple(f"{tmp_path}/c-2024-01-0{n}.parquet" for n in (2, 3, 4, 5))
    assert found.sources.conversions.files == (f"{tmp_path}/all.parquet",)
    labels = found.labels
    assert [labels.train_from, labels.eval_from, labels.eval_until] == [spans.midnight(day(n)) for n in (3, 4, 5)]
    assert (labels.observed_until, labels.observed_before) == (None, spans.midnight(day(6)))
    assert (labels.grow_from, labels.shards, labels.without_days) == ("/earlier/labels", 3, ())
    assert (found.training.warm_start, found.attribution.fit_from) == ("/earlier/train/mal", "/fitted")
    assert found.validation.schema_file == "/earlier/validate/schema.pbtxt"
    assert found.model.compare_with == ()
    assert found.labels.vocabulary_of == "train"


@pytest.mark.parametrize(("name", "others"), [("base", ["mal"]), ("mal", ["mmoe", "home"]), ("mal", ["base"])])
def test_a_span_trains_the_served_model_with_its_own_keys_alone(tmp_path, name, others):
    for number in (2, 3, 4, 5):
        (tmp_path / f"c-2024-01-0{number}.parquet").touch()
    run = config(tmp_path, model={"name": name, "primary": "last", "compare_with": others, "bottom_units": [8]})
    model = spans.span_config(run, plan(day(5), FIRST, 24, 1, day(2), []), "drop").model
    assert (model.names, model.bottom_units) == ((name,), (8,))
    assert type(model) is type(run.model.alone(name))


def test_with_delayed_feedback_vocabularies_know_the_newest_day(tmp_path):
    for number in range(1, 8):
        (tmp_path / f"c-2024-01-0{number}.parquet").touch()
    planned = plan(day(7), FIRST, 48, 2, day(2), [day(4), day(6)], delayed=True)
    found = spans.span_config(config(tmp_path), planned, "mark").labels
    assert (found.vocabulary_of, found.immature, found.eval_until) == ("all", "mark", None)
    assert (planned.judge, found.without_days) == (day(5), (day(4), day(6)))


def test_days_left_out_are_context(tmp_path):
    for number in range(1, 8):
        (tmp_path / f"c-2024-01-0{number}.parquet").touch()
    planned = plan(day(7), FIRST, 24, 1, day(1), [day(3)])
    assert spans.span_config(config(tmp_path), planned, "mark").labels.without_days == (day(3),)


def test_days_that_calibrate_are_labelled_with_those_that_train(tmp_path):
    for number in range(1, 8):
        (tmp_path / f"c-2024-01-0{number}.parquet").touch()
    planned = plan(day(7), FIRST, 24, 1, day(1), [day(3)], held_out=1)
    labels = spans.span_config(config(tmp_path), planned, "drop").labels
    assert (planned.train, planned.calibrate) == ((day(2), day(4)), (day(5),))
    assert (labels.train_from, labels.eval_from) == (spans.midnight(day(2)), spans.midnight(day(6)))
    assert labels.without_days == (day(3),)


def test_a_missing_log_is_named_and_can_be_accepted(tmp_path):
    (tmp_path / "c-2024-01-02.parquet").touch()
    (tmp_path / "c-2024-01-04.parquet").touch()
    planned = plan(day(4), FIRST, 24, 0, day(1))
    with pytest.raises(spans.MissingLog, match=r"no log of 2024-01-03: expected .*c-2024-01-03.parquet.*missing_days"):
        spans.span_config(config(tmp_path), planned, "drop")
    found = spans.span_config(config(tmp_path), planned, "drop", missing=[day(3)])
    assert len(found.sources.clicks.files) == 2


def test_a_log_of_views_is_read_for_each_day_and_missed_like_the_others(tmp_path):
    columns = {"touch_id": "id", "user_id": "user", "timestamp": "time", "match_key": "shop"}
    views = {"name": "view", "files": [f"{tmp_path}/v-{{date}}.parquet"], "columns": columns}
    for number in (2, 3, 4, 5):
        (tmp_path / f"c-2024-01-0{number}.parquet").touch()
    planned = plan(day(5), FIRST, 24, 1, day(2), [])
    with pytest.raises(spans.MissingLog, match=r"no log of 2024-01-02: expected .*v-2024-01-02.parquet"):
        spans.span_config(config(tmp_path, context=[views]), planned, "drop")
    for number in (2, 3, 4, 5):
        (tmp_path / f"v-2024-01-0{number}.parquet").touch()
    found = spans.span_config(config(tmp_path, context=[views]), planned, "drop").sources.tables()
    assert found.by_table["context_view"].files == tuple(f"{tmp_path}/v-2024-01-0{n}.parquet" for n in (2, 3, 4, 5))


@pytest.mark.parametrize("delayed", [False, True])
def test_days_after_the_judge_with_conversions_lost_are_in_no_split(delayed):
    """The 13th has no logs, so the windows of the 12th can't be filled: the 11th judges, `mark` has no later end."""
    planned = plan(day(14), FIRST, 24, 0, day(9), missing=[day(13)], delayed=delayed)
    assert (planned.judge, planned.spoilt) == (day(11), (day(12), day(13)))


def test_placeholder_where_no_list_is(tmp_path):
    columns = {"conversion_id": "id", "user_id": "user", "timestamp": "time", "match_key": "shop"}
    joined = {
        "files": [f"{tmp_path}/x.parquet"],
        "columns": columns,
        "join": [{"files": "shops-{date}.csv", "on": "shop"}],
    }
    planned = plan(day(4), FIRST, 24, 0, day(1))
    with pytest.raises(MalTfError, match=r"shops-\{date\}.csv: expected \{date\} only in lists"):
        spans.span_config(config(tmp_path, conversions=joined), planned, "drop", missing=planned.logs)
