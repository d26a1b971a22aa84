"""Metrics of a user's own."""

from types import SimpleNamespace

import numpy as np
import pytest

from features.errors import MalTfError
from mal_tf.evaluation import metrics
from mal_tf.evaluation.bootstrap import Scored, resampled
from mal_tf.evaluation.metrics import (
    HIGHER,
    LOWER,
    Clicks,
    Metric,
    RatioMetric,
    additive_metrics,
    all_metrics,
    level_metrics,
    metrics_or_nan,
    register_metric,
    registered_metrics,
)


class Brier(RatioMetric):
    name, title, summary, better = "brier", "Brier score", "mean squared distance; less is better", LOWER

    def parts(self, clicks):
        return clicks.per_user((clicks.prediction - clicks.label) ** 2), clicks.per_user()


class Best(Metric):
    name, title, summary, better = "best", "best", "largest prediction", HIGHER

    def value(self, clicks):
        return float(clicks.prediction.max())


USER, LABEL = np.repeat(np.arange(40), 2), np.tile([1.0, 0.25], 40)
PREDICTION = np.linspace(0.1, 0.9, 80)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """A registry of the test's own."""
    monkeypatch.setattr(metrics, "_REGISTERED", dict(metrics._REGISTERED))


def test_a_ratio_is_a_value_and_resamples():
    register_metric(Brier)
    expected = np.mean((PREDICTION - LABEL) ** 2)
    assert metrics.metrics_or_nan(USER, LABEL, PREDICTION)["brier"] == pytest.approx(expected)
    drawn = resampled(np.arange(40, dtype=np.uint64), Scored(USER, LABEL, PREDICTION), 20, 1, ["brier"])["brier"]
    assert drawn[0] == pytest.approx(expected) and np.isfinite(drawn).all() and np.unique(drawn).size > 10
    assert "brier" in additive_metrics() and "brier" in level_metrics()


def test_a_metric_that_does_not_add_up_has_a_value_alone():
    register_metric(Best())
    assert all_metrics(USER, np.tile([1.0, 0.0], 40), PREDICTION)["best"] == pytest.approx(0.9)
    assert "best" not in additive_metrics()


def test_an_auc_of_ones_own_has_a_value_alone_too():
    class Halved(metrics.Auc):
        name = "halved"

        def value(self, clicks):
            return super().value(clicks) / 2

    register_metric(Halved)
    assert "halved" not in additive_metrics()
    both = all_metrics(USER, np.tile([1.0, 0.0], 40), PREDICTION)
    assert both["halved"] == both["auc"] / 2


def test_names_are_unique_and_registering_again_is_harmless():
    assert register_metric(register_metric(Brier)) is Brier
    assert list(registered_metrics()) == ["auc", "gauc", "log_loss", "pcoc", "ece", "brier"]
    again = type("Brier", (Brier,), {"__module__": __name__, "title": "anew"})
    assert register_metric(again) is again and registered_metrics()["brier"].title == "anew"
    other = type("Other", (Brier,), {})
    with pytest.raises(
        MalTfError, match="metric 'brier': expected a name of its own, found that of .*Brier; rename it"
    ):
        register_metric(other)


def test_installed_packages_register_theirs(monkeypatch):
    entry = SimpleNamespace(name="brier", value="own:Brier", load=lambda: Brier)
    monkeypatch.setattr(metrics.importlib.metadata, "entry_points", lambda group: [entry] * (group == "mal_tf.metrics"))
    metrics._register_installed.cache_clear()
    assert "brier" in registered_metrics()


def test_losses_follow_the_direction():
    values = np.array([0.5, 1.5])
    assert [metrics.registered_metrics()[name].loss(values).tolist() for name in ("auc", "log_loss", "pcoc")] == [
        [-0.5, -1.5],
        [0.5, 1.5],
        [0.5, 0.5],
    ]


def test_clicks_of_a_user_are_added_up():
    clicks = Clicks(np.array([1, 0, 1]), np.array([1.0, 0, 0]), np.array([0.5, 0.25, 0.125]))
    assert clicks.per_user(clicks.prediction).tolist() == [0.25, 0.625] and clicks.per_user().tolist() == [1, 2]


def test_a_metric_that_raises_without_a_class_has_no_value_there_and_is_named_elsewhere(monkeypatch):
    class Strict(Metric):
        name, title, summary, better = "strict", "Strict", "raises", HIGHER

        def value(self, clicks):
            if np.unique(clicks.label).size < 2 or clicks.bins == 3:
                raise ValueError("only one class")
            return 1.0

    monkeypatch.setitem(registered_metrics(), "strict", Strict())
    user, one = np.zeros(4, np.int64), np.full(4, 0.5)
    assert np.isnan(metrics_or_nan(user, np.ones(4), one)["strict"])
    assert metrics_or_nan(user, np.array([1.0, 0, 0, 0]), one)["strict"] == 1
    with pytest.raises(MalTfError, match="metric 'strict', value: ValueError: only one class"):
        metrics_or_nan(user, np.array([1.0, 0, 0, 0]), one, 3)
