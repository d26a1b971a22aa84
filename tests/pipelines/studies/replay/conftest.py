"""A market of clicks that are made up, and a whole replay on the small project, whose models are functions."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from features.keras2 import tf
from features.time_units import SECONDS_PER_DAY
from pipelines.config import run as config
from pipelines.run.run import Run
from pipelines.studies.replay import designs
from pipelines.studies.replay.auction import competing_bids, uniform
from pipelines.studies.replay.config import Pacing, Prices, load
from pipelines.studies.replay.opportunities import Opportunities
from pipelines.studies.replay.run import run
from tests.support.project import Project


@pytest.fixture(scope="session")
def clicks() -> Opportunities:
    """20,000 clicks of 4,000 users on two days; what a click causes differs sixfold between most."""
    random, size, users = np.random.default_rng(0), 20_000, 4_000
    user = np.sort(np.append(np.arange(users), random.integers(users, size=size - users)))
    advertiser = random.integers(10, size=size)
    orders = 0.03 * random.lognormal(0, 0.9, size)
    return Opportunities(
        position=np.arange(size),
        click_id=np.arange(size).astype(str).astype(object),
        user=random.permutation(user),
        users=np.array([f"u{n:04d}" for n in range(users)], object),
        second=np.sort(random.integers(2 * SECONDS_PER_DAY, size=size)),
        advertiser=advertiser,
        industry=advertiser % 2,
        industries=("even", "odd"),
        value=10.0 * (1 + advertiser),
        orders=orders,
        truth={"orders": orders},
    )


@pytest.fixture(scope="session")
def market(clicks):
    price = competing_bids(clicks.value, clicks.orders, clicks.industry, uniform(1, "price", clicks.click_id), Prices())
    return designs.market(clicks, price, 0.2, Pacing())


class Rate(tf.Module):
    """Serves `factor` · the truth that stands in the table of click ids."""

    def __init__(self, truth, factor):
        self.truth, self.factor = tf.constant(truth, tf.float32), factor

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples):
        click = tf.io.parse_example(examples, {"click_id": tf.io.FixedLenFeature([], tf.int64)})["click_id"]
        return {"cvr": self.factor * tf.gather(self.truth, click)}


@pytest.fixture(scope="session")
def replay(tmp_path_factory):
    """Path of the replay's file: run `out`, the truth and models that know it up to a factor."""
    project = Project(tmp_path_factory.mktemp("replay"))
    project.config["labels"] |= {"eval_from": "2023-11-16T00:00:00+00:00"}
    with Run(config.load(project.write()), str(project.folder / "out")).opened() as opened:
        opened.labels()
    truth = np.random.default_rng(0).lognormal(-4, 1, project.clicks.num_rows)
    table = {"click_id": project.clicks["id"], "expected_credit": truth, "other": truth[::-1]}
    pq.write_table(pa.table(table), project.folder / "truth.parquet")
    for name, factor in (("half", 0.5), ("whole", 1.0)):
        model = Rate(truth, factor)
        tf.saved_model.save(model, str(project.folder / "serving" / name / "7"), {"serving_default": model.serve})
    settings = {
        "name": "x",
        "run": "out",
        "truth": "truth.parquet",
        "advertiser": "place",
        "industry": "place",
        "warm_up_days": 0,
        "samples": 20,
        "aa_splits": 2,
        "pacing": {"highest": 10},
        "arms": [
            {"name": "constant", "constant": 0.03},
            {"name": "oracle", "truth": "expected_credit"},
            {"name": "whole", "models": ["serving/whole"]},
            {"name": "another", "model": "half", "models": ["."]},
        ],
    }
    path = project.folder / "replay.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


@pytest.fixture(scope="session")
def finished(replay, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    return output, run(*load(replay), str(output))
