"""The stage of journeys, on a finished label job."""

import dataclasses
import datetime
import json
import logging

import pyarrow.compute as pc
import pytest

from pipelines.config.run import load
from pipelines.explain import chosen_journeys
from pipelines.explain.journey import Click, Conversion, Journey
from tests.support.labels import read_labels

NOON = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.timezone.utc)


def write(project, output="journeys"):
    config = load(str(project.folder / "config.yaml"))
    result = chosen_journeys.write(config, str(project.folder / "labels"), {}, str(project.folder / output))
    return result, json.loads((project.folder / output / "journeys.json").read_text())


def test_journeys_are_whole_of_different_users_and_as_labelled(project):
    project.config["attribution"]["window_hours"] = 18
    project.write()
    project.labels()
    result, found = write(project)
    assert result == {"journeys": len(found["journeys"])}
    assert (found["window_hours"], found["mechanisms"]) == (18, ["first", "last", "linear", "mta"])
    journeys, labels = found["journeys"], read_labels(project.folder / "labels")
    assert 2 <= len(journeys) <= 7
    assert len({journey["user_id"] for journey in journeys}) == len(journeys)
    lengths = [len(journey["clicks"]) for journey in journeys]
    assert lengths == sorted(lengths) and lengths[0] >= 2 and lengths[-1] <= 8 and len(set(lengths)) > 1
    for journey in journeys:
        times = [event["timestamp"] for event in journey["clicks"]]
        assert times == sorted(times) and all(time.endswith("+00:00") for time in times)
        for place, click in enumerate(journey["clicks"]):
            for name in found["mechanisms"]:
                credit = sum(sale["credit"][name][place] for sale in journey["conversions"])
                assert credit == pytest.approx(click["credit"][name], abs=1e-6)
                if click["click_id"] in labels:
                    assert click["label"][name] == labels[click["click_id"]][f"label_{name}"]
    (project.folder / "again").mkdir()
    write(project, "again")
    files = [(project.folder / name / "journeys.json").read_bytes() for name in ("journeys", "again")]
    assert files[0] == files[1]


def test_journeys_that_are_not_as_labelled_are_left_out_and_said(project, caplog):
    project.write()
    project.labels()
    project.conversions = project.conversions.filter(pc.not_equal(project.conversions["shop"], "s0"))
    project.write()
    with caplog.at_level(logging.WARNING, "mal_tf.explain"):
        _, found = write(project)
    assert "clicks have other labels in the label files than the logs give now" in caplog.text
    assert {tuple(journey["match_key"]) for journey in found["journeys"]} == {("s1",)}


def test_labels_without_longer_paths_have_no_journeys(project):
    project.config["attribution"]["window_hours"] = 0.001
    project.write()
    project.labels()
    assert write(project)[0] == {"journeys": 0}


def journey_of(credit):
    clicks = tuple(Click(i, NOON, "t", {}, {}, {}) for i in range(2))
    return Journey("u", ("k",), clicks, (Conversion("c", NOON, 1.0, credit),))


def test_disagreement_is_the_share_of_credit_that_two_mechanisms_place_differently():
    apart = journey_of({"first": (1.0, 0.0), "last": (0.0, 1.0)})
    half = journey_of({"last": (0.0, 1.0), "linear": (0.5, 0.5)})
    short = journey_of({"last": (0.0, 1.0), "last_1h": (None, 1.0)})
    assert list(map(chosen_journeys.disagreement, (apart, half, short))) == [1.0, 0.5, 0.0]
    third = journey_of({"first": (1.0, 0.0), "last": (0.0, 1.0), "linear": (0.5, 0.5)})
    assert chosen_journeys.disagreement(third) == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert chosen_journeys.disagreement(dataclasses.replace(apart, conversions=2 * apart.conversions)) == 1.0


def test_models_without_a_prediction_and_clicks_without_credit_in_the_file():
    found = chosen_journeys.as_json(journey_of({"last_1h": (None, 1.0)}), ["mal"])
    assert [click["cvr"] for click in found["clicks"]] == [{"mal": None}] * 2
    assert found["conversions"][0]["credit"] == {"last_1h": [0.0, 1.0]}
    assert found["conversions"][0]["timestamp"] == "2024-01-01T12:00:00+00:00"
    json.dumps(found)
