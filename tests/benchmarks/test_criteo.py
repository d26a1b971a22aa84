"""Real paths of display ads: journeys and credits against pandas, and what mechanisms say of held-out users."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks import real_logs
from benchmarks.budget_replay import (
    AS_BEFORE,
    CONSTANT,
    SHARES,
    evaluate,
    fitted,
    prediction_table,
    probabilities,
    replay_table,
)
from benchmarks.criteo_paths import fold, read
from pipelines.config.run import load
from pipelines.labels import run
from tests.support.labels import read_examples

FOLDER = real_logs.DATA / "criteo_attribution"
needs_data = pytest.mark.skipif(not FOLDER.exists(), reason="needs ../shared/data/criteo_attribution")

RULES = ("first", "last", "linear", "position", "time_decay")
BY_TYPE = ("shao_li", "shapley", "markov_1", "markov_2")


@pytest.mark.parametrize("block_bytes", [64, 90, 10_000])
def test_conversions_come_a_second_after_the_last_touch_wherever_blocks_end(tmp_path, block_bytes):
    rows = [(0, 2, 0, 10, 7, 0), (0, 2, 1, 20, 7, 0), (1, 4, 0, 5, 7, 1), (1, 4, 1, 9, 8, 1), (1, 4, 2, 30, 8, 1)]
    rows += [(5, 2, 0, 40, 9, 1), (6, 6, 0, 50, 9, 0), (8, 6, 0, 60, 9, 1)]
    lines = ["seq_id,uid,pos,timestamp,campaign,conversion", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    real_logs.criteo_tables(tmp_path / "log.csv", tmp_path, block_bytes)
    clicks, conversions = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("clicks", "conversions"))
    assert [tuple(row.values()) for row in clicks.to_pylist()] == rows
    assert conversions.select(["seq_id", "uid", "timestamp"]).to_pydict() == {
        "seq_id": [1, 5, 8],
        "uid": [4, 2, 6],
        "timestamp": [31, 41, 61],
    }


@pytest.fixture(scope="module")
def touches():
    """A quarter of the users."""
    found = pd.read_csv(FOLDER / "touchpoints_nofeatures_even_uid.csv.gz")
    return found[found["uid"] % 8 == 0].reset_index(drop=True)


@pytest.fixture(scope="module")
def labelled(touches, tmp_path_factory):
    """The label job's report, and the touches with what it found for each."""
    folder = tmp_path_factory.mktemp("criteo")
    (folder / "criteo_attribution").mkdir()
    touches.to_csv(folder / "criteo_attribution" / "touchpoints_nofeatures_even_uid.csv.gz", index=False)
    mechanisms = [m for m in real_logs.MECHANISMS if m["name"] in RULES + BY_TYPE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real_logs, "DATA", folder)
        patch.setattr(real_logs, "MECHANISMS", mechanisms)
        (config,) = real_logs.criteo(folder)
    report = run.run(load(config, ["labels.shards=3"]), str(folder / "labels"))
    names = [f"{kind}_{name}" for kind in ("credit", "label") for name in RULES + BY_TYPE]
    found = read_examples(folder / "labels", ["path_length"], names, ["click_id"])
    found[["seq_id", "pos"]] = found.pop("click_id").str.decode("ascii").str.split(":", expand=True).astype(int)
    return report, touches.merge(found, on=["seq_id", "pos"], how="left", validate="one_to_one")


@needs_data
def test_journeys_are_the_converting_paths(labelled, touches):
    report, _ = labelled
    lengths = touches[touches["conversion"] == 1].groupby("seq_id").size()
    assert len(lengths) > 2_000
    assert report["clicks"]["read"] == report["clicks"]["written"] == len(touches)
    assert report["conversions"]["attributed"] == report["conversions"]["kept"] == len(lengths)
    assert report["conversions"]["without_click"] == 0
    assert {int(n): count for n, count in report["path_lengths"].items()} == lengths.value_counts().to_dict()
    assert real_logs.ratios(report)["linear"] == pytest.approx(lengths.mean())


@needs_data
def test_every_touch_gets_the_credit_that_pandas_gives_it(labelled):
    _, found = labelled
    path, converts = found.groupby("seq_id"), found["conversion"] == 1
    size, place = path["pos"].transform("size"), path.cumcount()
    ends = (place == 0) | (place == size - 1)
    weight = np.exp2((found["timestamp"] - path["timestamp"].transform("max")) / 3600 / 168)
    expected = {
        "first": place == 0,
        "last": place == size - 1,
        "linear": 1 / size,
        "position": np.where(ends, 0.4, 0.2 / (size - 2)),  # the log has no paths of fewer than three touches
        "time_decay": weight / weight.groupby(found["seq_id"]).transform("sum"),
    }
    assert (found["path_length"] == np.where(converts, size, 0)).all()
    for name in RULES:
        credit = np.where(converts, expected[name], 0.0)
        assert np.allclose(found[f"credit_{name}"], credit, rtol=0, atol=1e-6), name
        assert np.allclose(found[f"label_{name}"], credit, rtol=0, atol=1e-6), name
        by_campaign = found.groupby("campaign")[f"credit_{name}"].sum()
        assert by_campaign.to_dict() == pytest.approx(pd.Series(credit).groupby(found["campaign"]).sum().to_dict())


@needs_data
def test_credits_add_up_to_the_attributed_conversions(labelled):
    report, found = labelled
    for name in RULES + BY_TYPE:
        assert found[f"credit_{name}"].sum() == pytest.approx(report["conversions"]["attributed"], rel=1e-5), name


@needs_data
def test_by_type_is_linear_where_no_converting_path_shows_two_campaigns(labelled):
    _, found = labelled
    assert found[found["conversion"] == 1].groupby("seq_id")["campaign"].nunique().max() == 1
    for name in BY_TYPE:
        assert np.allclose(found[f"credit_{name}"], found["credit_linear"], rtol=0, atol=1e-6), name


@pytest.fixture(scope="module")
def alike():
    """The paths with costs, all cut the same way."""
    return read("with_features", cut=True)


def longest_gaps(paths):
    """Seconds between touches of each path, the most."""
    gaps = np.diff(paths.time, append=paths.time[-1])
    gaps[paths.offsets[1:] - 1] = 0
    assert gaps.min() >= 0
    return np.maximum.reduceat(gaps, paths.offsets[:-1])


@needs_data
def test_the_log_builds_paths_by_their_outcome_unless_they_are_cut_alike(alike):
    given, limit = read("with_features", cut=False), 3 * 86_400
    assert (longest_gaps(given)[~given.converted] < limit).all()
    assert (longest_gaps(given)[given.converted] >= limit).mean() > 0.3
    assert (longest_gaps(alike) < limit).all() and alike.lengths.min() == 3
    assert (~alike.converted).sum() == (~given.converted).sum()


@needs_data
def test_shapley_of_one_campaign_predicts_the_rate_of_the_training_users(alike):
    part = fold(alike, 5)
    training, rest = alike.select(part != 0), alike.select(part == 0)
    assert not set(training.user) & set(rest.user)
    mechanism, fit = fitted("shapley", training)
    found = probabilities(mechanism, fit, rest, training)

    def campaigns(paths):
        frame = pd.DataFrame({"path": paths.journeys().owner, "campaign": paths.channels[paths.channel]})
        return frame.groupby("path")["campaign"].agg(lambda names: ":".join(sorted(set(names))))

    rate = pd.Series(training.converted).groupby(campaigns(training).to_numpy()).mean()
    expected = campaigns(rest).map(rate)
    assert expected.notna().mean() > 0.99
    assert np.allclose(found[expected.notna()], expected[expected.notna()])


@needs_data
def test_models_tell_held_out_conversions_and_returns_buy_more_of_them(alike):
    results = evaluate(alike, RULES + BY_TYPE, folds=2)
    assert results.predictions.keys() == {CONSTANT, *BY_TYPE}
    constant = results.predictions[CONSTANT]
    for name in BY_TYPE:
        for (auc, loss), (even, constant_loss) in zip(results.predictions[name], constant, strict=True):
            assert auc > 0.65 and even == 0.5, name
            assert loss < constant_loss - 0.02, name
    total = alike.cost.sum()
    for name in RULES + BY_TYPE:
        # The same credits per campaign, whatever the mechanism.
        outcomes = [results.outcomes[name, share] for share in SHARES]
        assert outcomes == [results.outcomes["last", share] for share in SHARES], name
        assert [o.spent for o in outcomes] == pytest.approx([share * total for share in SHARES], rel=0.05)
        for outcome, share in zip(outcomes, SHARES, strict=True):
            assert outcome.whole <= outcome.last <= alike.converted.sum()
            assert outcome.whole > 1.2 * results.outcomes[AS_BEFORE, share].whole
    assert len(prediction_table(results).rows) == 5
    assert {len(row) for row in replay_table(results).rows} == {len(replay_table(results).columns)}


@needs_data
@pytest.mark.slow
def test_mechanisms_differ_by_campaign_and_context_and_attention_tells_conversions():
    results = evaluate(
        read("with_features", ("campaign", "cat8"), cut=True), ("last", "markov_1", "attention"), folds=2
    )
    for name in ("markov_1", "attention"):
        assert min(auc for auc, _ in results.predictions[name]) > 0.65, name
    bought = {name: results.outcomes[name, 1 / 8].whole for name in (AS_BEFORE, "last", "markov_1", "attention")}
    assert bought["markov_1"] != bought["last"] != bought["attention"]
    assert min(bought["last"], bought["markov_1"], bought["attention"]) > bought[AS_BEFORE]
