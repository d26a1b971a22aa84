"""A user's metric, registered and nothing else, is on the page."""

import json

import pytest

from mal_tf.evaluation import metrics
from mal_tf.evaluation.metrics import LOWER, RatioMetric, register_metric
from pipelines.report import write
from tests.pipelines.report import runs


class Brier(RatioMetric):
    name, title, summary, better = "brier", "Brier score", "mean squared distance", LOWER

    def parts(self, clicks):
        return clicks.per_user((clicks.prediction - clicks.label) ** 2), clicks.per_user()


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(metrics, "_REGISTERED", dict(metrics._REGISTERED))
    register_metric(Brier)


def test_the_page_shows_value_meaning_interval_and_difference(registered, tmp_path):
    directory = runs.write(tmp_path / "run")
    path = tmp_path / "run" / "evaluate" / "metrics.json"
    found = json.loads(path.read_text())
    for of in (found, *found["labels"].values(), *found["slices"]):
        of["models"]["mal"]["brier"], of["models"]["base"]["brier"] = 0.0321, 0.0432
        of["differences"]["base"]["brier"] = runs.interval(-0.0111, 0.005)
    for of in (found, *found["labels"].values()):
        of["intervals"]["mal"]["brier"] = {"low": 0.0301, "high": 0.0341}
    path.write_text(json.dumps(found))
    write.write([directory], str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    for words in (
        "Brier score",
        "0.0321",
        "mean squared distance",
        "0.0301 … 0.0341",
        "−0.0111",
        "Brier score: mal minus",
    ):
        assert words in page, words
    assert "better in AUC and log-loss and Brier score" in page
