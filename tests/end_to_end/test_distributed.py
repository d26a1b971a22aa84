"""`mal-tf train --strategy …` with real processes on this machine: the same weights as on one device."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.support.project import Project

pytestmark = pytest.mark.slow

ONE_MODEL = ("--set", "model.name=base", "--set", "model.compare_with=[]")

TWO_CPUS = """
from features.keras2 import tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pipelines.cli import main
main()
"""


def ports(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for free in sockets:
        free.bind(("localhost", 0))
    found = [f"localhost:{free.getsockname()[1]}" for free in sockets]
    for free in sockets:
        free.close()
    return found


class Cluster:
    """A project whose labels are checked, trained on one device; starts further trainings of it."""

    def __init__(self, folder: pathlib.Path):
        self.project, self.folder = Project(folder), folder
        self.project.config["model"] |= {"name": "shared_bottom", "compare_with": ["base"]}
        # SGD, for Adam makes a step of a rounding error; 4 × 97 of 389 clicks leave a last batch of one.
        self.project.config["training"] = {"batch_size": 97, "optimizer": "sgd", "embedding_optimizer": "sgd"}
        self.project.config["training"] |= {"learning_rate": 0.2, "embedding_learning_rate": 0.2}
        self.project.write()
        self.check(self.start("alone"))
        report = json.loads((folder / "alone/labels/label_report.json").read_text())
        assert report["splits"]["train"]["clicks"] % 97 == 1

    def start(
        self, run, *words, strategy="default", cluster=None, job="worker", number=0, program=("-m", "pipelines.cli")
    ):
        if not (self.folder / run).exists() and run != "alone":
            shutil.copytree(self.folder / "alone", self.folder / run)
            for name in ("train", "checkpoints"):
                shutil.rmtree(self.folder / run / name, ignore_errors=True)
        config, output = str(self.folder / "config.yaml"), str(self.folder / run)
        place = {"cluster": cluster, "task": {"type": job, "index": number}}
        environment = os.environ | ({"TF_CONFIG": json.dumps(place)} if cluster else {})
        with open(self.folder / f"{run}.{job}.{number}.log", "w") as log:
            return subprocess.Popen(
                [sys.executable, *program, "train", config, "--output", output, "--strategy", strategy, *words],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def check(self, *processes):
        """Waits for processes to end well; on failure or too long a wait all are ended."""
        try:
            codes = [process.wait(timeout=580) for process in processes]
        finally:
            for process in processes:
                process.kill()
        logs = {path.name: path.read_text()[-3000:] for path in self.folder.glob("*.log")}
        assert set(codes) == {0}, "\n".join(f"{name}:\n{text}" for name, text in logs.items())

    def weights(self, run: str, name: str) -> dict[str, np.ndarray]:
        found = {}
        with h5py.File(self.folder / run / "train" / name / "model.weights.h5") as file:
            file.visititems(lambda key, o: found.update({key: o[()]}) if isinstance(o, h5py.Dataset) else None)
        return found

    def losses(self, run: str, name: str) -> dict[str, float]:
        return json.loads((self.folder / run / "train" / name / "training.json").read_text())["losses"]

    def is_as_alone(self, run: str, *names: str) -> None:
        for name in names:
            alone, found = self.weights("alone", name), self.weights(run, name)
            assert max(np.abs(alone[key] - found[key]).max() for key in alone) < 1e-6
            assert self.losses(run, name) == pytest.approx(self.losses("alone", name), rel=1e-5)


def contents(folder: pathlib.Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    return Cluster(tmp_path_factory.mktemp("cluster"))


def test_mirrored_over_two_devices(cluster):
    cluster.check(cluster.start("mirrored", strategy="mirrored", program=("-c", TWO_CPUS)))
    cluster.is_as_alone("mirrored", "shared_bottom", "base")


def test_two_workers_of_which_the_chief_alone_writes(cluster):
    """The other worker has a copy of the run as its output, so that what it writes would be seen there."""
    jobs, words = {"worker": ports(2)}, (*ONE_MODEL, "--set", "training.checkpoint.every_steps=2")
    options = {"strategy": "multi_worker", "cluster": jobs}
    shutil.copytree(cluster.folder / "alone", cluster.folder / "other")
    shutil.rmtree(cluster.folder / "other/train")
    before = contents(cluster.folder / "other")
    cluster.check(*(cluster.start(run, *words, **options, number=n) for n, run in enumerate(("chief", "other"))))
    cluster.is_as_alone("chief", "base")
    assert "checkpoint of step 4" in (cluster.folder / "chief.worker.0.log").read_text()
    assert contents(cluster.folder / "other") == before


def serving(cluster, run, *words, workers):
    """A chief's training with workers and a server that never end by themselves."""
    jobs = dict(zip(("chief", "ps"), ([port] for port in ports(2)), strict=True)) | {"worker": ports(workers)}
    options = {"strategy": "parameter_server", "cluster": jobs}
    chief = cluster.start(run, *words, **options, job="chief")
    others = [
        cluster.start(run, **options, job=job, number=n) for job in ("worker", "ps") for n in range(len(jobs[job]))
    ]
    try:
        cluster.check(chief)
        assert [other.poll() for other in others] == [None] * len(others)
    finally:
        for other in others:
            other.kill()


def test_a_parameter_server_and_one_worker(cluster):
    serving(cluster, "one", *ONE_MODEL, workers=1)
    cluster.is_as_alone("one", "base")


def test_a_parameter_server_and_two_workers_see_every_click_once(cluster):
    """Steps so small that their order does not matter; a batch of five that is lost or repeated is a fifth of the way."""
    small = [*ONE_MODEL, "--set", "training.learning_rate=0.001", "--set", "training.embedding_learning_rate=0.001"]
    cluster.check(cluster.start("small", *small))
    serving(cluster, "two", *small, workers=2)
    still = [*ONE_MODEL, "--set", "training.learning_rate=1.0e-12", "--set", "training.embedding_learning_rate=1.0e-12"]
    cluster.check(cluster.start("still", *still))
    start, alone, found = (cluster.weights(run, "base") for run in ("still", "small", "two"))
    moved = np.sqrt(sum(((alone[key] - start[key]) ** 2).sum() for key in alone))
    apart = np.sqrt(sum(((alone[key] - found[key]) ** 2).sum() for key in alone))
    assert moved > 0 and apart < 0.05 * moved


def test_errors_for_people(cluster):
    for strategy, environment, message in (
        ("sparkly", {}, "expected one of: default, mirrored"),
        ("multi_worker", {}, "expected TF_CONFIG such as"),
        ("parameter_server", {"cluster": {"worker": ["a:1"]}}, "chief, ps, worker"),
        ("tpu", {}, "expected TPUs in this machine, found none"),
    ):
        process = cluster.start("wrong", strategy=strategy, **environment)
        assert process.wait() == 1
        shown = " ".join((cluster.folder / "wrong.worker.0.log").read_text().split())
        assert message in shown and "Traceback" not in shown
