"""Two spans of a small market through `retrain` with a calibration: which days train, which fit the map, what serves."""

import datetime
import json
import pathlib

import pytest
import yaml

from features.keras2 import tf
from features.lookup import lookup_model
from mal_tf.serving.requests import signature_requests
from mal_tf.training.dataset import serialized
from pipelines.clicks import labelled
from pipelines.core import files
from pipelines.retrain import schedule
from pipelines.retrain.config import load
from pipelines.studies.simulation.config import load as load_market
from pipelines.studies.simulation.run import run as simulate
from pipelines.train import calibration, stages

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
DRIFT = {"l_infinity": None, "new_tokens": None, "jensen_shannon": None, "presence": None}


def day(number):
    return datetime.date(2024, 1, number)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A schedule on a small market's logs, whose gates are wide open, and the run's config."""
    folder = tmp_path_factory.mktemp("market")
    overrides = ["users=1500", "clicks=16000", "days=10", "window_hours=24", "daily_logs=true"]
    simulate(load_market(str(EXAMPLES / "simulation" / "market.yaml"), overrides), str(folder / "logs"))
    keys = yaml.safe_load((EXAMPLES / "retraining" / "market.yaml").read_text()) | {
        "run": "logs/config.yaml",
        "root": "daily",
        "checks": {"drift": DRIFT, "rows": [0, 100], "positives": [0, 100]},
        "gates": {"floors": {}, "pcoc": None, "allowed_loss": {}},
        "infra": {"rows": 10, "calls": 5},
    }
    keys["overrides"] += ["model.embedding_dim=4", "model.bottom_units=[8]", "model.tower_units=[4]"]
    keys["overrides"] += ["model.name=base", "calibration={method: isotonic, by: industry, min_positives: 20}"]
    (folder / "daily.yaml").write_text(yaml.safe_dump(keys))
    return load(str(folder / "daily.yaml"))


@pytest.mark.slow
def test_a_day_fits_the_map_in_one_span_and_trains_in_the_next(market):
    config, run = market
    trained = []
    for span, train, fitted_on in ((9, range(1, 7), 7), (10, [7], 8)):
        version = schedule.retrain(config, run, day(span), first=span == 9)
        directory, lineage = f"{config.root}/spans/{day(span)}", version.lineage
        assert (lineage["train"], lineage["trained_until"]) == ([str(day(n)) for n in train], str(day(fitted_on - 1)))
        trained += lineage["train"]
        data = labelled.load(f"{directory}/labels", run.feature_spec)
        of_days = [sum(rows) for rows in data.splits["train"].file_rows]
        found = json.loads(files.read_text(f"{directory}/calibrate/base/calibration.json"))
        assert json.loads(files.read_text(f"{directory}/train/base/training.json"))["examples"] == sum(of_days[:-1])
        assert found["clicks"] == of_days[-1] and {
            datetime.datetime.fromtimestamp(found[f"{key}_timestamp"], datetime.timezone.utc).date()
            for key in ("first", "last")
        } == {day(fitted_on)}
        assert (
            found["evaluation"]["after"] == pytest.approx(found["evaluation"]["before"], rel=1)
            and found["by"] == "industry"
        )

        network = stages.restore(run, data, "base", f"{directory}/train/base")  # Weights as trained, not calibrated.
        examples = next(iter(serialized(data.splits["eval"], 500)))
        raw = signature_requests(examples, run.feature_spec)["predict_raw"]
        logits = network.model(lookup_model(run.feature_spec, data.vocabularies)(raw))["last"].numpy()
        expected = calibration.read(f"{directory}/calibrate/base")(logits, raw["industry"])
        served = tf.saved_model.load(version.path).signatures["serving_default"](examples=examples)["cvr"].numpy()
        assert served == pytest.approx(expected, abs=1e-5)
    assert trained == [str(day(n)) for n in range(1, 8)]
