"""What is said before a training: clicks of one class, from which nothing can be learned."""

import logging

import pytest

from features.errors import MalTfError
from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.training.split import Split
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig
from pipelines.train.inputs import check_classes, without_held_out
from tests.support.project import CONFIG


def counted(clicks, positives, credit=None):
    names = ("first", "last", "linear", "mta")
    credits = dict.fromkeys(names, float(positives if credit is None else credit))
    return LabelCounts(clicks, dict.fromkeys(names, positives), credits, {})


def labelled(*train, later=(100, 9)):
    splits = {
        name: Split([["file"]] * len(days), [[day[0]] for day in days], [[counted(*day)] for day in days])
        for name, days in (("train", train), ("eval", [later]))
    }
    return Labelled("labels", splits, {}, "", {})


def config(**keys):
    return RunConfig.model_validate(CONFIG | keys)


def test_clicks_of_both_classes_can_be_learned():
    check_classes(config(), labelled((100, 0), (100, 1)))
    check_classes(config(training={"loss": "soft"}), labelled((100, 100, 40.5)))


@pytest.mark.parametrize(
    ("days", "training"), [(((100, 0),), {}), (((100, 100, 40.5), (5, 5)), {}), (((9, 9),), {"loss": "soft"})]
)
def test_clicks_of_one_class_are_said_before_a_training(days, training, caplog):
    with pytest.raises(MalTfError, match="expected clicks of both classes under label_last, found .* nothing to learn"):
        check_classes(config(training=training), labelled(*days))
    with caplog.at_level(logging.WARNING, "mal_tf"):
        check_classes(config(training=training | {"warm_start": "earlier"}), labelled(*days))
    assert "this training learns nothing" in caplog.text


def test_an_evaluation_split_without_a_mature_click_is_said(caplog):
    check_classes(config(), labelled((100, 5), later=(0, 0)))
    assert "eval split: no click is mature" in caplog.text


def test_days_to_calibrate_on_that_are_of_one_class_are_said_before_a_training():
    calibrated = config(calibration={"method": "platt", "segments": 2})
    assert without_held_out(calibrated, labelled((100, 9), (50, 1), (50, 0))).splits["train"].rows == 100
    with pytest.raises(MalTfError, match="under label_last in the last 2 segments .*, found 0 positives among 100"):
        without_held_out(calibrated, labelled((100, 9), (50, 0), (50, 0)))
