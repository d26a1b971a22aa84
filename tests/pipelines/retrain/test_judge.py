"""Gates on clicks few enough to work out by hand."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import MalTfError
from features.spec import FeatureSpec
from mal_tf.evaluation import metrics
from mal_tf.evaluation.metrics import HIGHER, RatioMetric
from pipelines.retrain.judge import GatesConfig, judge

#: The candidate's AUC is 2 pairs of 4, the blessed model's 4 of 4; per user 1 and 0, against 1 and 1.
CLICKS = pd.DataFrame(
    {
        "user_id": ["a", "a", "b", "b"],
        "label_last": [1.0, 0, 1, 0],
        "path_length": [1, 0, 2, 0],
        "place": ["x", "x", "y", "y"],
        "cvr_candidate": [0.6, 0.4, 0.3, 0.5],
        "cvr_blessed": [0.8, 0.2, 0.7, 0.1],
    }
)
NOTHING = {"floors": {}, "pcoc": None, "allowed_loss": {}, "samples": 20}


def judged(clicks=CLICKS, **gates):
    return judge(clicks, "last", GatesConfig.model_validate(NOTHING | gates), seed=1)


def test_metrics_and_losses_are_as_worked_by_hand():
    found = judged().all
    assert (found.clicks, found.positives) == (4, 2)
    log_loss = -(2 * math.log(0.6) + math.log(0.3) + math.log(0.5)) / 4
    theirs = -(2 * math.log(0.8) + math.log(0.7) + math.log(0.9)) / 4
    expected = {"auc": 0.5, "gauc": 0.5, "log_loss": log_loss, "pcoc": 0.9}
    assert found.metrics["candidate"] == pytest.approx(expected)
    assert found.metrics["blessed"] == pytest.approx({"auc": 1, "gauc": 1, "log_loss": theirs, "pcoc": 0.9})
    losses = {metric: loss["difference"] for metric, loss in found.losses.items()}
    assert losses == pytest.approx({"auc": 0.5, "gauc": 0.5, "log_loss": log_loss - theirs, "pcoc": 0}, abs=1e-12)


def test_pcoc_loses_by_its_distance_from_1():
    both = CLICKS.assign(cvr_candidate=0.4, cvr_blessed=0.75)  # 0.8 and 1.5: the candidate is nearer.
    assert judged(both).all.losses["pcoc"]["difference"] == pytest.approx(-0.3)


@pytest.mark.parametrize(
    "gates, reason",
    [
        ({"floors": {"auc": 0.6}}, "all (4 clicks, 2 positives): auc 0.5 is below 0.6 (gates.floors.auc)"),
        ({"ceilings": {"log_loss": 0.7}}, "log_loss 0.7297 is above 0.7 (gates.ceilings.log_loss)"),
        ({"pcoc": [0.95, 1.1]}, "pcoc 0.9 is below 0.95 (gates.pcoc)"),
        (
            {"allowed_loss": {"gauc": 0.49}},
            "gauc 0.5 against the blessed model's 1 is worse by 0.5 (no interval as less than 30 users carry it), more than "
            "the allowed 0.49 (gates.allowed_loss.gauc)",
        ),
        (
            {"slices": {"by": "place", "min_positives": 1, "pcoc": [0.8, 0.95]}},
            "place = x (2 clicks, 1 positives): pcoc 1 is above 0.95 (gates.slices.pcoc)",
        ),
    ],
)
def test_a_reason_names_part_measure_value_and_limit(gates, reason):
    (found,) = judged(**gates).reasons
    assert found.endswith(reason)


def test_a_users_own_metric_has_gates(monkeypatch):
    class Largest(RatioMetric):
        name, title, summary, better = "largest", "largest", "mean prediction", HIGHER

        def parts(self, clicks):
            return clicks.per_user(clicks.prediction), clicks.per_user()

    with pytest.raises(ValueError, match="found 'largest'"):
        judged(floors={"largest": 0.4})
    monkeypatch.setattr(metrics, "_REGISTERED", dict(metrics._REGISTERED))
    metrics.register_metric(Largest)
    assert judged(floors={"largest": 0.44}, allowed_loss={"largest": 0.1}).reasons == []
    (reason,) = judged(floors={"largest": 0.46}).reasons
    assert reason.endswith("largest 0.45 is below 0.46 (gates.floors.largest)")


def test_at_the_limit_it_passes():
    limits = {"floors": {"auc": 0.5, "gauc": 0.5}, "allowed_loss": {"auc": 0.5}, "pcoc": [0.9, 1]}
    assert judged(**limits).reasons == []


def test_a_loss_that_may_be_chance_counts_unless_it_has_to_be_significant():
    """Of 40 users, one loses, or each; a resample without that one loses nothing."""
    user = np.repeat(np.arange(40), 4)
    clicks = pd.concat([CLICKS[:2]] * 80, ignore_index=True).assign(user_id=user.astype(str))
    one = clicks.assign(cvr_candidate=np.where(user == 0, 1 - clicks["cvr_candidate"], clicks["cvr_candidate"]))
    assert len(judged(one, allowed_loss={"gauc": 0.01}).reasons) == 1
    assert judged(one, allowed_loss={"gauc": 0.01}, significant=True).reasons == []
    each = clicks.assign(cvr_candidate=1 - clicks["cvr_candidate"])
    (reason,) = judged(each, allowed_loss={"gauc": 0.01}, significant=True).reasons
    assert "(95% interval 1 … 1)" in reason


def test_a_loss_that_has_to_be_significant_can_t_be_among_few_users():
    lost = CLICKS.assign(cvr_candidate=[0.4, 0.6, 0.3, 0.5])
    (reason,) = judged(lost, allowed_loss={"gauc": 0.1}, significant=True).reasons
    assert reason.endswith(
        "gauc may have lost by chance, no interval as less than 30 users carry it (gates.allowed_loss.gauc)"
    )
    slices = {"by": ["place"], "min_positives": 1, "allowed_loss": {"gauc": 0.1}}
    found = judged(lost, slices=slices)
    assert found.reasons == [] and sum("no interval" in note for note in found.notes) == 2


def test_first_run_is_held_to_limits_but_no_losses():
    first = CLICKS.drop(columns="cvr_blessed")
    slices = {"by": ["place"], "min_positives": 1, "floors": {"auc": 0.5}, "allowed_loss": {"auc": 0}}
    found = judged(first, floors={"auc": 0.6}, allowed_loss={"auc": 0}, slices=slices)
    assert [reason.partition(":")[0] for reason in found.reasons] == [
        "all (4 clicks, 2 positives)",
        "place = y (2 clicks, 1 positives)",
    ]
    assert found.all.losses == {}


def test_slices_of_few_positives_are_counted_not_judged():
    clicks = pd.concat([CLICKS, CLICKS[:2]], ignore_index=True)
    found = judged(clicks, slices={"by": ["place"], "min_positives": 2, "floors": {"auc": 1}})
    assert [part.name for part in found.slices] == ["x"]
    assert found.notes == ["place: 1 slices of at least 2 positives hold 2 of 3 positives; the others are not judged"]


def test_a_slice_of_one_class_is_said():
    clicks = CLICKS.assign(place=["x", "y", "x", "y"])
    slices = {"by": ["place"], "min_positives": 1, "floors": {"auc": 0.9}, "allowed_loss": {"gauc": 0.1}}
    found = judged(clicks, slices=slices)
    assert found.reasons == []
    assert found.notes[:2] == [
        "place = x (2 clicks, 2 positives): auc has no value, it needs clicks of both classes (gates.slices.floors.auc)",
        "place = x (2 clicks, 2 positives): gauc has no value, it needs a user with clicks of both classes "
        "(gates.slices.allowed_loss.gauc)",
    ]
    assert found.slices[0].metrics["candidate"]["auc"] is None
    assert "NaN" not in json.dumps(dataclasses.asdict(found))


def test_clicks_of_one_class_are_refused():
    found = judged(CLICKS.assign(label_last=0.0), floors={"auc": 0.5})
    assert found.reasons == [
        "all (4 clicks, 0 positives): auc has no value, it needs clicks of both classes (gates.floors.auc)"
    ]


def test_predictions_that_are_not_finite_are_refused():
    found = judged(CLICKS.assign(cvr_candidate=[0.6, np.nan, 0.3, 0.5]))
    assert found.reasons == ["all (4 clicks, 2 positives): 1 predictions of the candidate model are not finite"]


def test_path_lengths_are_judged_against_all_negatives():
    found = judged(slices={"by": "path_length", "min_positives": 1, "floors": {"auc": 0.5}})
    assert [(part.name, part.clicks, part.metrics["candidate"]["auc"]) for part in found.slices] == [
        ("1 click", 3, 1.0),
        ("2 clicks", 3, 0.0),
    ]
    assert [reason.partition(" (")[0] for reason in found.reasons] == ["path_length = 2 clicks"]


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([0, 0, 0.5, 1]),
        st.sampled_from("xy"),
        st.integers(1, 9),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=20,
)


@given(ROWS, st.randoms())
def test_order_of_clicks_does_not_matter_and_no_model_is_worse_than_itself(rows, random):
    gates = {
        "floors": {"auc": 0.6, "gauc": 0.6},
        "ceilings": {"log_loss": 0.5},
        "allowed_loss": {"auc": 0.1, "gauc": 0.1, "log_loss": 0.1, "pcoc": 0.1},
        "slices": {"by": "place", "min_positives": 1, "floors": {"auc": 0.6}, "allowed_loss": {"log_loss": 0.1}},
    }
    names = ["user_id", "label_last", "place", "cvr_candidate", "cvr_blessed"]
    frame = pd.DataFrame(rows, columns=names).astype({"label_last": float})
    frame[names[3:]] /= 16  # Sums that are exact in any order.
    shuffled = frame.iloc[random.sample(range(len(rows)), len(rows))].reset_index(drop=True)
    one, other = (judged(clicks, **gates) for clicks in (frame, shuffled))
    assert sorted(one.reasons) == sorted(other.reasons)
    none = dict.fromkeys(gates["allowed_loss"], 0)
    itself = judged(frame.assign(cvr_candidate=frame["cvr_blessed"]), allowed_loss=none)
    assert not [reason for reason in itself.reasons if "worse" in reason]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"floors": {"aucc": 0.5}}, "expected metrics among auc, gauc, pcoc, found 'aucc'"),
        ({"floors": {"log_loss": 0.5}}, "expected metrics among auc, gauc, pcoc, found 'log_loss'"),
        ({"floors": {"auc": 5}}, "auc: expected a number from 0 to 1, found 5"),
        ({"allowed_loss": {"ece": 0.1}}, "expected metrics among auc, gauc, log_loss, pcoc, found 'ece'"),
        ({"allowed_loss": {"auc": -0.1}}, "greater than or equal to 0"),
        ({"pcoc": [1.2, 0.8]}, "expected the smallest, then the largest, found 1.2, 0.8"),
        ({"slices": {"min_positive": 5}}, "did you mean 'min_positives'"),
    ],
)
def test_wrong_gates_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GatesConfig.model_validate(wrong)


def test_slices_are_by_known_features():
    spec = FeatureSpec(features=({"type": "categorical", "name": "place"}, {"type": "numeric", "name": "price"}))
    known = GatesConfig(slices={"by": ("path_length", "place")})
    assert known.slices.features(spec) == ("place",)
    with pytest.raises(MalTfError, match="gates.slices.by: 'price' is neither path_length nor .* there are: place"):
        GatesConfig(slices={"by": "price"}).slices.features(spec)
