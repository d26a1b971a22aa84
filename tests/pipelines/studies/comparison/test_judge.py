"""Predictions judged on a few clicks, and the table that they make."""

import numpy as np
import pandas as pd
import pytest

from mal_tf.evaluation import metrics
from mal_tf.evaluation.metrics import LOWER, RatioMetric, auc, register_metric
from pipelines.config.evaluation import GrowthConfig
from pipelines.core.text_table import markdown
from pipelines.evaluate import users
from pipelines.studies.comparison import judge, report


class Brier(RatioMetric):
    name, title, summary, better = "brier", "Brier score", "mean squared distance; less is better", LOWER

    def parts(self, clicks):
        return clicks.per_user((clicks.prediction - clicks.label) ** 2), clicks.per_user()


@pytest.fixture
def clicks(tmp_path):
    random = np.random.default_rng(0)
    label = random.choice([0, 0, 1.0], 600)
    frame = pd.DataFrame({"user_id": random.integers(60, size=600).astype(str), "label_last": label})
    frame["user"], hashed = users.coded(frame["user_id"])
    frame["user_hash"], frame["position"] = hashed[frame["user"]], np.arange(600)
    frame["information_gain"] = random.integers(0, 3, 600)
    frame["good"], frame["bad"] = 0.3 * label + 0.5 * random.random(600), random.random(600)
    frame["caused"] = random.integers(0, 2, 600)
    frame.to_parquet(tmp_path / "clicks.parquet")
    return frame, str(tmp_path / "clicks.parquet")


def how(**changes):
    growth = GrowthConfig(bounds=(1, 2))
    asked = {
        "target": "last",
        "slices": ("information_gain",),
        "growth": growth,
        "caused": None,
        "samples": 40,
        "seed": 3,
    }
    return judge.Judging(**asked | {"metrics": tuple(judge.compared_metrics())} | changes)


def test_slices_and_causes_are_judged_like_all_clicks(clicks):
    frame, path = clicks
    found = judge.judge(path, "good", how(caused="caused"), "")
    assert list(found["resampled"]) == ["all", "caused", "information_gain"]
    assert list(found["resampled"]["information_gain"]) == ["none", "1", "2 or more"]
    some = frame[frame["information_gain"] == 1]
    expected = auc(some["label_last"].to_numpy(), some["good"].to_numpy())
    assert found["resampled"]["information_gain"]["1"]["auc"][0] == pytest.approx(expected)
    cause = auc(frame["caused"].to_numpy(), frame["good"].to_numpy())
    assert found["resampled"]["caused"]["caused"]["auc"][0] == pytest.approx(cause)
    assert len(found["resampled"]["all"]["all"]["gauc"]) == 41


def test_the_resamples_follow_from_the_users_not_from_their_place_in_the_file(clicks, tmp_path):
    frame, path = clicks
    frame.sample(frac=1, random_state=1).to_parquet(tmp_path / "shuffled.parquet")
    one, other = (
        judge.judge(file, "good", how(), "")["resampled"] for file in (path, str(tmp_path / "shuffled.parquet"))
    )
    assert other["all"]["all"]["auc"] == pytest.approx(one["all"]["all"]["auc"], rel=1e-12)


def test_a_users_own_metric_is_compared_and_in_the_table(clicks, monkeypatch):
    monkeypatch.setattr(metrics, "_REGISTERED", dict(metrics._REGISTERED))
    register_metric(Brier)
    _, path = clicks
    good, bad = (judge.judge(path, name, how(), "") for name in ("good", "bad"))
    rows = [judge.row([one], [bad]) | {"row": name, "choice": None} for one, name in ((good, "good"), (bad, "bad"))]
    rows = [row | {"learning_rate": 0.1, "parameters": 5, "examples_per_second": None} for row in rows]
    assert rows[0]["differences"]["all"]["all"]["brier"]["high"] < 0
    result = {"bootstrap_samples": 40, "seeds": [1], "oracles": {}}
    shown = markdown(report._models(result, {"name": "t", "against": "bad"}, "last", rows))
    assert "| GAUC | Δ GAUC to bad | Brier score | Δ Brier score to bad | log-loss | PCOC |" in shown
    assert f"{good['metrics']['brier']:.4f}" in shown
