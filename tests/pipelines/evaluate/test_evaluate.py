"""An evaluation of two models' predictions, without the models."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.evaluation.bootstrap import Scored, resampled
from mal_tf.evaluation.calibration import calibration_curve
from mal_tf.evaluation.judgement import differences, interval
from mal_tf.evaluation.metrics import metrics_or_nan
from mal_tf.evaluation.multiplicity import holm
from mal_tf.training.split import Split
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig
from pipelines.core.text_table import markdown
from pipelines.evaluate import evaluate, users
from pipelines.evaluate.tables import overall, tables
from tests.support.project import CONFIG

SLICES = ["path_length", "place", "price"]
EVALUATION = {"bootstrap_samples": 50, "slices": SLICES, "min_positives": 5, "quantiles": 2, "calibration_bins": 4}
NOTHING = Labelled("labels", {"train": Split([], []), "eval": Split([], [])}, {}, "", {})


def config(**evaluation):
    return RunConfig.model_validate(CONFIG | {"evaluation": EVALUATION | evaluation})


def clicks(count=1200):
    generator = np.random.default_rng(5)
    last = generator.choice([0, 0, 0, 1.0], count)
    return pd.DataFrame(
        {
            "user_id": generator.integers(90, size=count).astype(str),
            "path_length": np.where(last > 0, generator.integers(1, 3, count), 0),
            "label_first": np.roll(last, 1),
            "label_last": last,
            "label_linear": np.where(last > 0, 0.5, np.roll(last, 1) / 2),
            "label_mta": np.zeros(count),  # One class.
            "place": generator.choice(["top", "side", "feed"], count),
            "price": generator.random(count).astype(np.float32),
            "cvr_mal": (0.3 * last + 0.7 * generator.random(count)).astype(np.float32),
            "cvr_base": generator.random(count).astype(np.float32),
        }
    )


def evaluated(monkeypatch, folder, frame, versions=("mal", "base"), **settings):
    monkeypatch.setattr(evaluate, "score", lambda *_: frame)
    return evaluate.evaluate(config(**settings), NOTHING, dict.fromkeys(versions, ""), str(folder))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    with pytest.MonkeyPatch.context() as patch:
        return folder, evaluated(patch, folder, clicks())


def columns(frame, label, model):
    user = np.unique(frame["user_id"], return_inverse=True)[1]
    return user, frame[f"label_{label}"].to_numpy(np.float64), frame[f"cvr_{model}"].to_numpy()


def drawn(model):
    frame = clicks()
    return resampled(users.coded(frame["user_id"])[1], Scored(*columns(frame, "last", model)), 50, 17)


def test_every_label_has_the_metrics_of_every_model(found):
    _, result = found
    assert (result["target"], result["split"], result["served"]) == ("last", "eval", "mal")
    assert list(result["labels"]) == ["first", "last", "linear", "mta"]
    for mechanism in ("first", "last", "linear"):
        for model in ("mal", "base"):
            expected = metrics_or_nan(*columns(clicks(), mechanism, model), 4)
            assert result["labels"][mechanism]["models"][model] == pytest.approx(expected)
    assert {key: result[key] for key in ("models", "intervals", "differences", "calibration")} == result["labels"][
        "last"
    ]
    lacking = result["labels"]["mta"]
    assert lacking["models"]["mal"]["auc"] is None and lacking["models"]["mal"]["log_loss"] > 0
    assert lacking["differences"]["base"]["auc"] == dict.fromkeys(("difference", "low", "high", "p", "adjusted_p"))


def test_differences_are_the_served_models_minus_the_others(found):
    _, result = found
    one, other = (drawn(model) for model in ("base", "mal"))
    expected = differences([one], [other])
    for metric, of in result["differences"]["base"].items():
        assert {key: of[key] for key in expected[metric]} == pytest.approx(expected[metric])
    assert result["differences"]["base"]["auc"]["difference"] > 0


def test_each_table_is_a_family(found):
    _, result = found
    families = [[of["differences"] for of in result["labels"].values()]]
    families += [[part["differences"] for part in result["slices"] if part["by"] == by] for by in SLICES]
    tested = 0
    for family in families:
        values = [found for differences in family for found in differences["base"].values() if found["p"] is not None]
        expected = holm(np.array([found["p"] for found in values]))
        assert [found["adjusted_p"] for found in values] == pytest.approx(expected.tolist())
        tested += len(values)
    assert result["multiplicity"]["comparisons"] == tested
    assert tested == 12 + 2 * 2 + 3 * 4 + 2 * 4  # mta's label has no positives, path lengths have ranks alone


def test_a_family_too_large_for_the_resamples_says_how_many_it_takes(found, monkeypatch, tmp_path):
    """Its least adjusted p, 2 · family / (B + 1), is below .05 from B = 40 · family on."""
    _, result = found
    largest = result["multiplicity"]["largest_family"]
    assert largest == 12
    said = "A family has 12 comparisons, too many for so few resamples to show any: set evaluation.bootstrap_samples to 480 or"
    assert said in "\n".join(map(markdown, overall(result)))
    enough = evaluated(monkeypatch, tmp_path, clicks(), bootstrap_samples=480, slices=[])
    assert "too many" not in "\n".join(map(markdown, overall(enough)))


def test_a_slice_is_the_metrics_of_its_clicks(found):
    _, result = found
    frame = clicks()
    for name, part in ((p["name"], p) for p in result["slices"] if p["by"] == "place"):
        mine = frame[frame["place"] == name]
        user, label, score = columns(mine, "last", "mal")
        assert (part["clicks"], part["users"]) == (len(mine), mine["user_id"].nunique())
        assert part["positives"] == (label > 0).sum()
        assert part["growth"] == pytest.approx((mine["label_linear"] > 0).sum() / (label > 0).sum())
        expected = metrics_or_nan(np.unique(user, return_inverse=True)[1], label, score, 4)
        assert part["models"]["mal"] == pytest.approx({key: expected[key] for key in part["models"]["mal"]})
    assert [part["name"] for part in result["slices"] if part["by"] == "path_length"] == ["1 click", "2 clicks"]
    lengths = result["slices"][0]
    assert lengths["models"]["mal"]["auc"] > 0.5 and lengths["models"]["mal"]["pcoc"] is None


def test_calibration_by_label_and_model(found):
    _, result = found
    for mechanism, model in itertools.product(("last", "linear"), ("mal", "base")):
        expected = calibration_curve(*columns(clicks(), mechanism, model), 4)
        curve = result["labels"][mechanism]["calibration"][model]
        assert [pytest.approx(part) for part in expected] == curve
        apart = np.array([one["clicks"] * abs(one["predicted"] - one["observed"]) for one in curve])
        assert result["labels"][mechanism]["models"][model]["ece"] == pytest.approx(apart.sum() / 1200)


def test_metrics_of_one_model_alone_have_intervals_too(monkeypatch, tmp_path):
    alone = evaluated(monkeypatch, tmp_path, clicks(), ("mal",))
    expected = interval(drawn("mal")["gauc"][1:])
    assert tuple(alone["intervals"]["mal"]["gauc"].values()) == pytest.approx(expected)
    assert expected[0] < alone["models"]["mal"]["gauc"] < expected[1]
    assert alone["differences"] == {} and "ece" not in alone["intervals"]["mal"]
    assert alone["slices"][0]["intervals"]["mal"].keys() == alone["intervals"]["mal"].keys()


def test_what_rests_on_few_users_has_neither_interval_nor_p(monkeypatch, tmp_path):
    """One user has both classes: every resample with them has the same GAUC, which would look certain."""
    frame = clicks()
    both = frame["user_id"] == "0"
    frame.loc[~both, "label_last"] = (frame["user_id"][~both].astype(int) % 2).astype(float)
    found = evaluated(monkeypatch, tmp_path, frame)
    assert found["models"]["mal"]["gauc_users"] == 1
    lacking = dict.fromkeys(("low", "high", "p", "adjusted_p"))
    gain = found["models"]["mal"]["gauc"] - found["models"]["base"]["gauc"]
    assert found["differences"]["base"]["gauc"] == {"difference": pytest.approx(gain), **lacking}
    assert found["intervals"]["mal"]["gauc"] == {"low": None, "high": None}
    assert found["differences"]["base"]["auc"]["p"] is not None
    assert found["bootstrap"]["min_users"] == 30


def test_a_prediction_that_is_no_number_is_an_error(monkeypatch, tmp_path):
    frame = clicks()
    frame.loc[3, "cvr_base"] = np.nan
    with pytest.raises(MalTfError, match="model 'base': a prediction for labels is nan, expected a finite number"):
        evaluated(monkeypatch, tmp_path, frame)


def test_the_file_is_json_that_any_reader_takes(found):
    folder, result = found

    def refuse(name):
        raise ValueError(name)

    assert json.loads((folder / "metrics.json").read_text(), parse_constant=refuse) == result


def test_tensorboard_has_every_labels_metrics(found):
    folder, result = found
    events = EventAccumulator(str(folder / "events" / "base"), size_guidance={"tensors": 0})
    events.Reload()
    tags = {f"label_{name}/{metric}" for name in ("first", "last", "linear") for metric in ("auc", "gauc", "pcoc")}
    assert tags <= set(events.Tags()["tensors"]) and "label_mta/auc" not in events.Tags()["tensors"]
    (event,) = events.Tensors("label_linear/ece")
    assert tf.make_ndarray(event.tensor_proto) == pytest.approx(result["labels"]["linear"]["models"]["base"]["ece"])


def test_the_order_of_clicks_and_names_of_users_do_not_matter(monkeypatch, tmp_path):
    frame, settings = clicks(), {"bootstrap_samples": 0}
    one = evaluated(monkeypatch, tmp_path / "one", frame, **settings)
    other = frame.sample(frac=1, random_state=1).assign(user_id=lambda f: "u" + f["user_id"].str[::-1])
    other = evaluated(monkeypatch, tmp_path / "other", other, **settings)
    assert other["differences"] == {} and other["multiplicity"]["comparisons"] == 0
    assert numbers(other["labels"]) == pytest.approx(numbers(one["labels"]))
    for part, same in zip(other["slices"], one["slices"], strict=True):
        assert (part["by"], part["name"], part["users"]) == (same["by"], same["name"], same["users"])
        assert numbers(part["models"]) == pytest.approx(numbers(same["models"]))


def numbers(value):
    if isinstance(value, dict):
        return [n for of in value.values() for n in numbers(of)]
    return [n for of in value for n in numbers(of)] if isinstance(value, list) else [value or 0]


def test_exports_of_other_names_are_compared_with_the_first(monkeypatch, tmp_path):
    frame = clicks().rename(columns={"cvr_mal": "cvr_new", "cvr_base": "cvr_old"})
    found = evaluated(monkeypatch, tmp_path, frame, ("new", "old"), bootstrap_samples=5, slices=[])
    assert found["served"] == "new" and set(found["differences"]) == {"old"} and found["slices"] == []


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_metrics_that_need_both_classes_have_no_value_and_a_note_says_why(monkeypatch, tmp_path, value, caplog):
    found = evaluated(monkeypatch, tmp_path, clicks().assign(label_last=value))
    models = found["models"]["mal"]
    assert (
        models["auc"] is models["gauc"] is None and models["log_loss"] > 0 and (models["pcoc"] is None) == (value == 0)
    )
    assert found["differences"]["base"]["auc"]["difference"] is None
    (note,) = [note for note in found["notes"] if "label_last:" in note]
    assert "no value of AUC (clicks of both classes), GAUC (a user with clicks of both classes)" in note
    assert note in caplog.text and note in overall(found)[0].note


def test_gauc_without_a_user_of_both_classes_has_no_value(monkeypatch, tmp_path):
    frame = clicks()
    frame["user_id"] += np.where(frame["label_last"] > 0, "buys", "")
    found = evaluated(monkeypatch, tmp_path, frame)
    assert found["models"]["mal"]["gauc"] is None and found["models"]["mal"]["auc"] > 0.5
    assert [note.split(" of ")[1].split(" (")[0] for note in found["notes"] if "label_last:" in note] == ["GAUC"]
    assert tables(found)


def test_tables_say_what_they_are_of(found):
    _, result = found
    shown = "\n".join(map(markdown, tables(result)))
    auc = result["differences"]["base"]["auc"]
    for words in (
        "eval split, label_last, the target\n",
        "eval split, label_linear\n",
        f"| last, minus base, AUC | {auc['difference']:+.4f} ({auc['low']:+.4f} … {auc['high']:+.4f}) | {auc['p']:.3g} |",
        "50 resamples: p is 0.039 at least; no interval where a metric rests on less than 30 users. Detectable: the true",
        "| 95% interval |  |  | {} … {} |".format(
            *(f"{end:.4f}" for end in result["intervals"]["mal"]["auc"].values())
        ),
        "eval split, label_last, by place\n",
        "| mta, minus base, AUC | – | – | – |",
        "Calibration of base\n",
    ):
        assert words in shown
    assert [table.title for table in overall(result)] == [
        "eval split, label_last, the target",
        "mal against the others",
    ]
    alone = result | {"labels": {name: of | {"differences": {}} for name, of in result["labels"].items()}}
    assert len(overall(alone)) == 1
