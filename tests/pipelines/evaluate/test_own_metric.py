"""A user's metric, registered and nothing else, is wherever metrics are."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mal_tf.evaluation import metrics
from mal_tf.evaluation.metrics import HIGHER, LOWER, Metric, RatioMetric, register_metric
from pipelines.clicks import labelled as labels
from pipelines.config.run import load
from pipelines.core.text_table import markdown
from pipelines.evaluate.distributed import run
from pipelines.evaluate.evaluate import evaluate
from pipelines.evaluate.tables import tables
from tests.pipelines.evaluate.distributed.small import labelled, write_model

SETTINGS = ["evaluation.slices=[place]", "evaluation.min_positives=1", "evaluation.bootstrap_samples=20"]


class Brier(RatioMetric):
    name, title, summary, better = "brier", "Brier score", "mean squared distance; less is better", LOWER

    def parts(self, clicks):
        return clicks.per_user((clicks.prediction - clicks.label) ** 2), clicks.per_user()


class OfTheBest(Metric):
    name, title, summary, better = "of_the_best", "of the best", "label of the click that is predicted highest", HIGHER
    ranking = True

    def value(self, clicks):
        return float(clicks.label[np.argmax(clicks.prediction)])


@pytest.fixture(scope="module")
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_REGISTERED", dict(metrics._REGISTERED))
        register_metric(Brier)
        register_metric(OfTheBest)
        yield


def test_both_engines_compute_it_with_intervals_and_show_it(registered, project):
    directory = labelled(f"{project.folder}/labels", count=300)
    versions = {"mal": write_model(f"{project.folder}/mal"), "base": write_model(f"{project.folder}/base", 0.02, 30)}
    config = load(project.write(), SETTINGS)
    output = f"{project.folder}/local"
    local = evaluate(config, labels.load(directory, config.feature_spec), versions, output)
    clicks = pd.read_parquet(f"{output}/predictions.parquet")
    expected = np.mean((clicks["cvr_mal"].astype(float) - clicks["label_last"]) ** 2)
    assert local["models"]["mal"]["brier"] == pytest.approx(expected)
    assert local["intervals"]["mal"]["brier"]["low"] < expected < local["intervals"]["mal"]["brier"]["high"]
    assert local["differences"]["base"]["brier"]["adjusted_p"] is not None
    assert local["slices"][0]["models"]["mal"]["brier"] > 0
    assert json.loads(pathlib.Path(output, "metrics.json").read_text()) == local

    there = run.run(run.Evaluation(config, directory, versions), f"{project.folder}/job")
    assert there["models"]["mal"]["brier"] == pytest.approx(expected)
    best = clicks["label_last"][clicks["cvr_mal"].argmax()]
    assert local["models"]["mal"]["of_the_best"] == best  # It does not add up: the job can't have it, and says so.
    assert there["models"]["mal"]["of_the_best"] is None
    for key in ("intervals", "differences"):
        model = "mal" if key == "intervals" else "base"
        assert there[key][model]["brier"] == pytest.approx(local[key][model]["brier"], rel=1e-9)

    shown = "\n".join(map(markdown, tables(local)))
    assert "| PCOC | ECE | Brier score |" in shown
    assert "last, minus base, Brier score" in shown and "mal: Brier score" in shown and "Δ Brier score to base" in shown
    events = EventAccumulator(f"{output}/events/mal", size_guidance={"tensors": 0})
    events.Reload()
    assert "label_last/brier" in events.Tags()["tensors"]
