"""Checks on a real label job's output as it is, and with one thing planted."""

import copy
import dataclasses
import datetime
import gzip
import itertools
import json

import pytest

from features.errors import MalTfError
from pipelines.config.run import load
from pipelines.retrain.checks import ChecksConfig, SpanData, check, run, serving_statistics
from pipelines.validate import statistics
from tests.support.project import Project

DAYS = [datetime.date(2023, 11, day) for day in (15, 16, 17)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Config, statistics and report of a label job."""
    project = Project(tmp_path_factory.mktemp("checks"))
    config = load(project.write())
    report = project.labels()
    assert {table: set(days) for table, days in report["days"].items()} == {
        "clicks": set(map(str, DAYS)),
        "conversions": set(map(str, DAYS)),
    }
    report["days"] = {table: {str(day): 200 for day in DAYS} for table in ("clicks", "conversions")}
    statistics.write(str(project.folder / "labels"), config.feature_spec, str(project.folder / "statistics"))
    return config, statistics.load(str(project.folder / "statistics")), report, project.folder


@pytest.fixture
def given(finished):
    """A span like the one before, and what it must hold."""
    config, of_splits, report, _ = finished
    history = [copy.deepcopy(report)]
    for day in DAYS[1:]:
        for of_table in history[0]["days"].values():
            del of_table[str(day)]
    return {
        "statistics": of_splits,
        "previous": None,
        "serving": None,
        "report": copy.deepcopy(report),
        "history": history,
        "days": DAYS,
        "judge": DAYS[-1],
        "config": config,
        "checks": ChecksConfig(),
    }


def split(given):
    """The span's data, and the other arguments of `check`."""
    others = {key: given[key] for key in ("config", "checks", "serving")}
    return SpanData(**{key: value for key, value in given.items() if key not in others}), *others.values()


def anomalies(given):
    return [str(measurement) for measurement in check(*split(given)) if measurement.anomalous]


def test_the_stage_writes_all_measurements_and_returns_the_anomalies_of_the_schema_too(given, tmp_path):
    data, config, limits, _ = split(given)
    assert run(data, config, limits, str(tmp_path)) == {"anomalies": []}
    data.report["days"]["clicks"][str(DAYS[1])] = 0
    found = run(
        dataclasses.replace(data, anomalies=["eval split, feature 'price': unexpected"]), config, limits, str(tmp_path)
    )
    assert found["anomalies"][0] == "eval split, feature 'price': unexpected"
    assert len(found["anomalies"]) == 2 and "rows on 2023-11-16" in found["anomalies"][1]
    written = json.loads((tmp_path / "measurements.json").read_text())
    assert sum(one["anomalous"] for one in written) == 1 and len(written) > 5


def test_a_good_span_has_none(given):
    assert anomalies(given) == []
    assert anomalies(given | {"history": []}) == []
    assert anomalies(given | {"previous": given["statistics"], "serving": given["statistics"]["train"]}) == []


def test_a_missing_day(given):
    del given["report"]["days"]["conversions"]["2023-11-15"]
    assert anomalies(given) == ["logs, conversions: rows on 2023-11-15: 0, expected at least 1"]


@pytest.mark.parametrize("rows, ok", [(99, False), (100, True), (400, True), (401, False)])
def test_rows_of_a_new_day_against_the_median_of_the_days_before(given, rows, ok):
    given["report"]["days"]["clicks"]["2023-11-16"] = rows
    expected = [] if ok else [f"logs, clicks: rows on 2023-11-16: {rows}, expected 100 to 400"]
    assert anomalies(given) == expected


def test_rows_of_a_day_that_was_read_before_are_not_compared_again(given):
    given["report"]["days"]["clicks"]["2023-11-15"] = 1000
    assert anomalies(given) == []


def test_the_median_is_of_the_last_seven_days(given):
    old = {f"2023-10-{day}": 10_000 for day in range(10, 30)}
    given["history"][0]["days"]["clicks"] = old | {f"2023-11-0{day}": 100 * day for day in range(1, 8)}  # Median 400.
    del given["report"]["days"]["clicks"]["2023-11-15"]
    given["report"]["days"]["clicks"] |= {"2023-11-16": 900, "2023-11-17": 800}
    assert anomalies(given | {"days": DAYS[1:]}) == ["logs, clicks: rows on 2023-11-16: 900, expected 200 to 800"]


def test_positives_against_the_median_share(given):
    def span(positives, clicks):
        changed = copy.deepcopy(given["report"])
        changed["splits"]["train"]["clicks"] = 0  # Nothing new to train on: no share.
        mechanisms = changed["splits"]["eval"]["mechanisms"]
        changed["splits"]["eval"] |= {"clicks": clicks, "mechanisms": {n: {"positives": positives} for n in mechanisms}}
        return changed

    given["history"] = [span(*pair) for pair in ((100, 1000), (20, 100), (600, 2000))]  # 0.1, 0.2, 0.3
    given["report"] = span(0, 100)
    given["report"]["splits"]["train"]["cat_classes"] = {}
    for mechanism in given["report"]["splits"]["train"]["mechanisms"].values():
        mechanism["positives"] = 0
    given["report"]["splits"]["eval"]["mechanisms"]["mta"]["positives"] = 41
    given["report"]["splits"]["eval"]["mechanisms"]["linear"]["positives"] = 41
    given["report"]["splits"]["eval"]["cat_classes"] = {"0": 59, "12": 41}
    assert anomalies(given) == [
        f"eval split, label_{name}: positives among 100 clicks: {positives}, expected 10 to 40"
        for name, positives in {"first": 0, "last": 0, "linear": 41, "mta": 41}.items()
    ]


def test_a_mechanism_that_is_new_has_nothing_to_be_compared_with(given):
    for split in given["history"][0]["splits"].values():
        del split["mechanisms"]["mta"]
    given["report"]["splits"]["eval"]["mechanisms"]["linear"]["positives"] = 0
    assert any("label_linear: positives" in line for line in anomalies(given))
    assert not any("label_mta: positives" in line for line in anomalies(given))


def test_few_positives_tell_nothing(given):
    for split in given["history"][0]["splits"].values():
        split["clicks"] = 10**6
        split["mechanisms"] = {name: {"positives": 1} for name in split["mechanisms"]}
    for split in given["report"]["splits"].values():
        split["mechanisms"] = {name: {"positives": 0} for name in split["mechanisms"]}
        split["cat_classes"] = {"0": split["clicks"]}
    assert anomalies(given) == []


def test_classes_that_cannot_be(given):
    """Bits are first, last, linear, mta: classes 1, 2, 3 and 8 to 11 lack linear, which credits every click."""
    found = given["report"]["splits"]["train"]["cat_classes"]
    assert not set(found) & {"1", "2", "3", "8", "9", "10", "11"}
    found["15"] -= 2
    found["11"] = 2
    linear = given["report"]["splits"]["train"]["mechanisms"]["linear"]["positives"]
    where, cannot = "train split, label_cat: clicks of classes with", "above 0 and label_linear 0, which cannot be: 2"
    assert anomalies(given) == [
        f"{where} label_linear above 0: {linear - 2}, expected {linear}",
        *(f"{where} label_{name} {cannot}, expected 0" for name in ("first", "last", "mta")),
    ]


def test_classes_beyond_the_last_and_clicks_without_one(given):
    split = given["report"]["splits"]["eval"]
    split["cat_classes"]["16"] = 1
    split["cat_classes"]["0"] -= 1
    clicks = split["clicks"]
    assert anomalies(given) == [f"eval split, label_cat: clicks of classes 0 to 15: {clicks - 1}, expected {clicks}"]


def test_drift_and_skew_say_what_was_compared(given):
    other = copy.deepcopy(given["statistics"])
    for split in other.values():
        (place,) = [one for one in split.datasets[0].features if one.path.step == ["place"]]
        for bucket in place.string_stats.rank_histogram.buckets:
            bucket.label = bucket.label[::-1]
    found = anomalies(given | {"previous": other, "serving": other["eval"]})
    places = (
        "train split against the last good run's eval split",
        "eval split against the last good run's eval split",
        "eval split against serving log",
    )
    measures = "share of tokens that are new: 1, expected 0 to 0.5", "L-infinity distance: "
    assert len(found) == 6
    assert all(
        line.startswith(f"{where}, place: {measure}")
        for line, (where, measure) in zip(found, itertools.product(places, measures), strict=True)
    )


def test_a_serving_log_is_read_gzipped_or_not(finished):
    _, _, _, folder = finished
    (packed, *_) = sorted(folder.glob("labels/Split-eval/*.gz"))
    requests = folder / "requests-2023-11-17"
    requests.mkdir()
    (requests / "a.tfrecord.gz").write_bytes(packed.read_bytes())
    (requests / "b.tfrecord").write_bytes(gzip.decompress(packed.read_bytes()))
    examples = []
    for name in ("a.*", "b.*", "*"):
        checks = ChecksConfig(serving_log=f"{folder}/requests-{{date}}/{name}")
        found = serving_statistics(checks, DAYS[2], str(folder / "serving"))
        examples.append(found.datasets[0].num_examples)
    assert examples[0] > 0
    assert examples == [examples[0], examples[0], 2 * examples[0]]


def test_no_serving_log_or_none_of_the_day(tmp_path):
    assert serving_statistics(ChecksConfig(), DAYS[2], str(tmp_path)) is None
    checks = ChecksConfig(serving_log=f"{tmp_path}/{{date}}/*")
    with pytest.raises(MalTfError, match="checks.serving_log: expected requests in .*/2023-11-17/\\*, found no file"):
        serving_statistics(checks, DAYS[2], str(tmp_path))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"rows": [2, 0.5]}, "expected the smallest, then the largest, found 2, 0.5"),
        ({"drift": {"linf": 0.1}}, "unknown key 'linf'"),
        ({"skew": {"presence": -1}}, "greater than or equal to 0"),
    ],
)
def test_wrong_checks_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ChecksConfig.model_validate(wrong)
