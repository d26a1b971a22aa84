"""The graph that Dataflow would get, built offline from the real label job."""

import sys

import apache_beam
import pytest

from features.errors import MalTfError
from pipelines.config.run import load
from pipelines.core import beam_runner, dataflow
from pipelines.labels import run
from tests.pipelines.core.memory import MemoryFileSystem
from tests.support.object_store import HOME, upload

FLAGS = (
    "--runner=DataflowRunner",
    "--project=my-project",
    "--region=europe-west1",
    "--temp_location=gs://bucket/tmp",
    "--dry_run=true",
)
OUTPUT = "gs://bucket/runs/small/labels"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def config(project):
    MemoryFileSystem.reset()
    return load(upload(project))


def test_the_clicks_are_shuffled_once(config):
    proto = dataflow.graph(run.pipeline(config, OUTPUT, FLAGS))
    shuffles = [name.removeprefix("Labels/") for name in dataflow.shuffles(proto)]
    reshuffled = "Reshuffle/ReshufflePerKey/GroupByKey"
    assert shuffles == [
        "AddCounts/CombinePerKey/GroupByKey",  # counts of rows
        "AddTouchpoints/GroupByKey",  # counts of touchpoint types
        "AddVocabulary/GroupByKey",  # counts of tokens
        f"EveryShard/Maybe{reshuffled.replace('/', '/Reshuffle/', 1)}",  # numbers of shards
        "GroupDead",  # bad rows
        "Merge:mta/CombinePerKey/GroupByKey",  # statistics of a fit
        "ShuffleByShard",  # the clicks
        "Spread:clicks/ReshufflePerKey/GroupByKey",  # names of files
        "Spread:conversions/ReshufflePerKey/GroupByKey",
        "TimeRange/CombinePerKey/GroupByKey",  # pairs of times
    ]


def test_nothing_comes_after_the_step_that_finishes(config):
    steps = dataflow.steps(dataflow.graph(run.pipeline(config, OUTPUT, FLAGS)))
    assert steps[-1] == "Labels/Finish"
    assert {"Labels/Read:clicks", "Labels/Prepare", "Labels/Label", "Labels/WriteDead"} <= set(steps)


@pytest.mark.parametrize(
    ("flag", "image"),
    [
        ((), f"gcr.io/cloud-dataflow/v1beta3/beam_python{PYTHON}_sdk:{apache_beam.__version__}"),
        (("--sdk_container_image=registry/mal-tf/labels:1",), "registry/mal-tf/labels:1"),
    ],
)
def test_workers_would_run_the_image_that_was_asked_for(config, flag, image):
    assert dataflow.images(dataflow.graph(run.pipeline(config, OUTPUT, (*FLAGS, *flag)))) == [image]


def test_a_dry_run_writes_nothing(config):
    before = set(MemoryFileSystem.objects)
    told = run.dry_run(config, f"{HOME}/labels", FLAGS)
    assert "nothing was submitted or written" in told
    assert f"{HOME}/labels" in told
    assert "project my-project, region europe-west1" in told
    assert set(MemoryFileSystem.objects) == before


@pytest.mark.parametrize("runner", [FLAGS, FLAGS[:-1], ("--runner=PortableRunner", "--job_endpoint=localhost:1")])
@pytest.mark.parametrize(
    ("told", "output", "override"),
    [
        ("output /data/labels", "/data/labels", "name=small"),
        ("input /data/sales.csv", OUTPUT, "sources.conversions.files=/data/sales.csv"),
        ("input /data/places.csv", OUTPUT, "sources.clicks.join=[{files: /data/places.csv, 'on': place_copy}]"),
    ],
)
def test_what_workers_elsewhere_would_not_find_is_refused(config, runner, told, output, override):
    with pytest.raises(
        MalTfError, match=f"^{told} is on this machine's disk.*; move it to gs://…, or leave out --runner"
    ):
        run.run(load(f"{HOME}/config.yaml", [override]), output, runner)


def test_the_local_runner_is_meant_in_any_case_of_letters():
    assert beam_runner.is_local(beam_runner.pipeline_options(["--runner=directrunner"]))


def test_an_earlier_fit_is_copied_by_the_job_not_by_whoever_builds_its_graph(config):
    run.run(config, f"{HOME}/earlier")
    before = set(MemoryFileSystem.objects)
    later = load(f"{HOME}/config.yaml", ["attribution.fit_from=earlier"])
    run.dry_run(later, f"{HOME}/later", FLAGS)
    assert set(MemoryFileSystem.objects) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--dry_run=true",), "expected --runner=DataflowRunner, found FnApiRunner"),
        ((*FLAGS, "--temp_location=gs://b"), "Invalid GCS bucket"),
        ((*FLAGS, "--project=My Project"), "Invalid Project ID"),
    ],
)
def test_flags_that_dataflow_would_refuse_are_refused_offline(config, flags, message):
    with pytest.raises(MalTfError, match=message):
        run.pipeline(config, OUTPUT, flags)


@pytest.mark.parametrize(("given", "meant"), [("true", True), ("false", False)])
def test_dry_run_false_is_no_dry_run(given, meant):
    assert beam_runner.is_dry_run(beam_runner.pipeline_options([f"--dry_run={given}"])) is meant
