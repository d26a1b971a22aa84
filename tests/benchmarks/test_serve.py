"""What the benchmark compares gives the same CVRs, and a process measures what it was asked to."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import serve
from benchmarks.measure import ROOT
from benchmarks.serve_process import Settings
from features.keras2 import tf
from pipelines.clicks import labelled
from pipelines.config.run import load
from tests.support.project import Project


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both exports of `mal`, and requests of 20 clicks."""
    project = Project(tmp_path_factory.mktemp("project"))
    config = load(project.write(), ["export.user_features=[clicked_items]"])
    project.labels()
    data = labelled.load(str(project.folder / "labels"), config.feature_spec)
    requests = serve.make_requests(config, data, 20)
    warmup = {signature: inputs for signature, inputs in requests.items() if signature != serve.ROWS}
    return serve.export_both(config, data, "mal", project.folder, warmup), requests


def test_both_exports_answer_the_same(made):
    exported, requests = made
    models = [tf.saved_model.load(exported.versions[name]) for name in (serve.OURS, serve.THEIRS)]
    ours, theirs = (model.signatures for model in models)
    raw = {name: tf.constant(values) for name, values in requests["predict_raw"].items()}
    logits = theirs["serving_default"](**raw)
    assert set(logits) == {"last", "aka_first", "aka_last", "aka_linear", "aka_mta", "aka_cat"}
    np.testing.assert_allclose(ours["predict_raw"](**raw)["cvr"], tf.sigmoid(logits["last"]), atol=1e-6)


def test_each_graph_is_a_part_of_the_one_before(made):
    step, heads, served = (made[0].sizes[graph] for graph in ("training step", "all heads", "served"))
    assert step["ops"] > heads["ops"] > served["ops"]
    assert heads["parameters"] > served["parameters"]


def test_a_process_measures_every_signature(made, tmp_path):
    exported, requests = made
    np.savez(tmp_path / "r.npz", **{f"{s}/{k}": v for s, named in requests.items() for k, v in named.items()})
    signatures = {name: name for name in requests if name != serve.ROWS}
    version, batches = exported.versions[serve.OURS], [1, 20]
    settings = Settings("TensorFlow", version, str(tmp_path / "r.npz"), signatures, 1, True, batches, 2, 2, 0.05, 20)
    (tmp_path / "s.json").write_text(json.dumps(dataclasses.asdict(settings)))
    command = [sys.executable, "-m", "benchmarks.serve_process", str(tmp_path / "s.json"), str(tmp_path / "out.json")]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["warmup"] > 0 and found["memory"] == sorted(found["memory"])
    for name in signatures:
        assert found["first"][name] > 0 and found["throughput"][name] > 0
        assert list(found["latency"][name]) == ["1", "20"]
        assert all(0 < p50 <= p99 and cpu > 0 for p50, p99, cpu in found["latency"][name].values())
