"""What is read of labelled clicks, on the small project's label job."""

import dataclasses
import gzip

import numpy as np
import pandas as pd
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.clicks.labelled import LabelledClicks
from pipelines.clicks.scoring import add_slice_columns, extra_positives, score
from pipelines.config.evaluation import GrowthConfig
from pipelines.config.run import load
from tests.support.project import DAY, Project


class Priced(tf.Module):
    """An export whose CVR is a hundredth of the price."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def of(self, examples):
        price = tf.io.parse_example(examples, {"price": tf.io.FixedLenFeature([], tf.float32)})["price"]
        return {"cvr": price / 100}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    config = load(project.write())
    project.labels()
    model = Priced()
    tf.saved_model.save(model, str(project.folder / "priced"), {"serving_default": model.of})
    return project, config, labelled.load(str(project.folder / "labels"), config.feature_spec)


@pytest.fixture(scope="module")
def scored(made):
    project, config, data = made
    versions = {"priced": str(project.folder / "priced")}
    return score(config, data, versions, str(project.folder / "out"), ["place", "item", "price"])


def test_scores_stand_beside_the_clicks_that_they_are_of(made, scored):
    project, _, _ = made
    log = project.clicks.to_pandas().set_index("id")
    np.testing.assert_allclose(scored["cvr_priced"], log.loc[scored["click_id"], "price"] / 100, rtol=1e-6)
    assert (scored["place"].to_numpy() == log.loc[scored["click_id"], "place"].to_numpy()).all()
    assert (scored["item"].to_numpy() == log.loc[scored["click_id"], "item"].to_numpy()).all()
    written = pd.read_parquet(project.folder / "out/predictions.parquet")
    pd.testing.assert_frame_equal(written, scored.reset_index(drop=True))
    labels = ["label_first", "label_last", "label_linear", "label_mta"]
    expected = [
        "user_id",
        "timestamp",
        "click_id",
        "path_length",
        "mature",
        *labels,
        "place",
        "item",
        "price",
        "cvr_priced",
    ]
    assert set(written) == set(expected)


def test_the_training_split_is_scored_on_request(made, tmp_path):
    project, config, data = made
    found = score(config, data, {"priced": str(project.folder / "priced")}, str(tmp_path), split="train")
    assert len(found) == sum(sum(rows) for rows in data.splits["train"].file_rows)


def test_labels_that_are_not_there_are_named(made, tmp_path):
    _, config, data = made
    named = config.attribution.model_copy(
        update={"mechanisms": (config.attribution.mechanisms[0].model_copy(update={"name": "odd"}),)}
    )
    with pytest.raises(MalTfError, match="expected column label_odd of the config, found: label_cat, label_first"):
        score(config.model_copy(update={"attribution": named}), data, {}, str(tmp_path))


def test_extra_positives_are_counted_over_the_trailing_segments(made, scored):
    _, _, data = made
    clicks = data.clicks("train")
    for number in (1, 2):
        past = clicks.last(number).frame(["user_id", "label_linear", "label_last"])
        expected = {
            user: int((of["label_linear"] > 0).sum() - (of["label_last"] > 0).sum())
            for user, of in past.groupby("user_id")
        }
        found = extra_positives(scored["user_id"], clicks, GrowthConfig(segments=number))
        assert found.tolist() == [expected.get(user, 0) for user in scored["user_id"]]
        assert found.max() > 0


def test_a_trailing_window_without_clicks_gives_nobody_more(made, scored, tmp_path):
    (tmp_path / "day.gz").write_bytes(gzip.compress(b""))
    past = LabelledClicks(Split([[str(tmp_path / "day.gz")]], [[0]]), made[2].types, "day.gz")
    found = extra_positives(scored["user_id"], past, GrowthConfig())
    assert found.tolist() == [0] * len(scored)


def test_ages_and_what_is_new(made, scored):
    _, config, data = made
    trained = dataclasses.replace(data, vocabularies=data.vocabularies | {"item": ["3", "1"], "place": ["top"]})
    frame = scored.assign(place=np.where(scored["item"] == 2, "", scored["place"]))
    wanted = ("click_age", "user_history", "known_item", "known_place", "information_gain")
    found = add_slice_columns(frame, wanted, config, None, trained)
    assert "information_gain" not in found  # Nothing is before the clicks.
    # The newest mature click's window of 12 hours ends when the labels are closed.
    newest = scored["timestamp"].max()
    np.testing.assert_allclose(found["click_age"], 0.5 + (newest - scored["timestamp"]) / DAY)
    np.testing.assert_array_equal(found["known_item"] == "known", scored["item"].isin([1, 3]))
    expected = np.where(scored["item"] == 2, "", np.where(scored["place"] == "top", "known", "new"))
    np.testing.assert_array_equal(found["known_place"], expected)
    users = set(data.clicks("train").frame(["user_id"])["user_id"])
    np.testing.assert_array_equal(found["user_history"] == "known", scored["user_id"].isin(users))
