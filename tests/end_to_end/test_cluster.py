"""The label job and the evaluation job on a job server with workers in processes of their own, one of which is killed."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from pipelines.core import files, manifest
from tests.pipelines.evaluate.distributed.small import labelled, write_model
from tests.support.labels import tree
from tests.support.object_store import upload
from tests.support.source_tree import ROOT
from tests.support.store_servers import SERVERS, serving

pytestmark = pytest.mark.slow

_spec = importlib.util.spec_from_file_location("cluster", ROOT / "deploy/engines/cluster.py")
cluster = importlib.util.module_from_spec(_spec)
sys.modules["cluster"] = cluster
_spec.loader.exec_module(cluster)

#: Each pool in a network namespace, which only root may make.
ROOT_ONLY = os.geteuid() == 0 and pathlib.Path("/sbin/ip").exists()


def started(module, *flags):
    command = [sys.executable, "-W", "ignore", "-m", module, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process):
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return said


def outputs(folder):
    return {path: data for path, data in tree(folder).items() if path not in ("manifest.json", ".lock")}


def labels(project, output, *flags):
    given = [f"--config={project.folder}/config.yaml", f"--output={output}", "--set=labels.shards=6"]
    return started("pipelines.labels.main", *given, *flags)


@pytest.fixture(autouse=True)
def written(project):
    project.write()


@pytest.fixture(scope="module")
def three():
    with cluster.running(3, namespaces=ROOT_ONLY) as running:
        yield [*running.flags, "--shared_disk"]


def test_labels_are_those_of_a_local_run(project, three):
    ended(labels(project, project.folder / "here"))
    ended(labels(project, project.folder / "there", *three))
    assert outputs(project.folder / "there") == outputs(project.folder / "here")


def test_an_evaluation_is_that_of_a_local_run(project, three):
    given = [
        f"--config={project.folder}/config.yaml",
        f"--labelled={labelled(f'{project.folder}/labels', count=60)}",
        f"--model=base={write_model(f'{project.folder}/models/base')}",
        "--set=evaluation.slices=[path_length];evaluation.min_positives=1;evaluation.bootstrap_samples=2",
        "--shards=3",
    ]
    module = "pipelines.evaluate.distributed.main"
    ended(started(module, *given, f"--output={project.folder}/here"))
    ended(started(module, *given, f"--output={project.folder}/there", *three))
    assert outputs(project.folder / "there") == outputs(project.folder / "here")


def test_what_the_workers_do_not_see_is_said_in_a_line_before_anything_is_cleared(project, three):
    output = project.folder / "there"
    ended(labels(project, output, *three))
    before = outputs(output) | {"manifest": (output / "manifest.json").read_bytes()}
    damaged = labels(project, output, *three, "--overwrite", "--environment_config=localhost:1")
    said = damaged.communicate()[0]
    assert "error: --environment_config: no worker pool at localhost:1" in said and "Traceback" not in said
    assert outputs(output) | {"manifest": (output / "manifest.json").read_bytes()} == before


def test_a_bad_log_ends_in_one_line(project, three):
    with open(project.folder / "conversions.parquet", "r+b") as file:
        file.write(bytes(400))
    process = labels(project, project.folder / "there", *three)
    said = process.communicate()[0]
    assert process.returncode == 1
    assert "error: " in said and "Traceback" not in said


def test_a_killed_pool_leaves_the_labels_as_they_are(project):
    ended(labels(project, project.folder / "here"))
    output = project.folder / "there"
    with cluster.running(3) as running:
        job = labels(project, output, *running.flags, "--shared_disk")
        while job.poll() is None and not list(output.glob("Split-*/*.gz")):
            time.sleep(0.01)
        os.killpg(running.pools[0].pid, signal.SIGKILL)
        ended(job)
    assert outputs(output) == outputs(project.folder / "here")


@pytest.mark.skipif(not SERVERS, reason="needs the servers of `make test-stores`")
def test_labels_on_a_store_are_those_of_a_local_run(project, monkeypatch):
    ended(labels(project, project.folder / "here"))
    with serving("gs") as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        config, output = upload(project, "gs://bucket/shop"), "gs://bucket/shop/labels"
        with cluster.running(2) as running:
            given = [f"--config={config}", f"--output={output}", "--set=labels.shards=6"]
            ended(started("pipelines.labels.main", *given, *running.flags))
            ended(started("pipelines.labels.main", *given, "--output=gs://bucket/shop/here"))
            here, there = (manifest.place(f"gs://bucket/shop/{name}") for name in ("here", "labels"))
            listed = files.listing(there)
            assert listed.keys() == files.listing(here).keys()
            for path in listed.keys() - {"manifest.json"}:
                assert files.read_bytes(f"{there}/{path}") == files.read_bytes(f"{here}/{path}")
