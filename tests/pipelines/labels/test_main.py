"""The label job's own entry point, as a Dataflow flex template launches it: without TensorFlow, without waiting."""

import ast
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.core import files, locks, manifest
from pipelines.labels.main import main
from tests.pipelines.core.memory import MemoryFileSystem
from tests.support.object_store import HOME, upload

ROOT = pathlib.Path(__file__).parents[3]

WITHOUT_TENSORFLOW = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_data_validation", "tf_keras", "tfx_bsl", "keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

OURS = ("features", "mal_tf", "pipelines")

IMPORTED = f"""
import pipelines.labels.main, pipelines.labels.options, pipelines.labels.job, pipelines.labels.run, pipelines.core.dataflow
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] in {OURS}:
        print(module.__file__)
"""


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_TENSORFLOW + code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def run(project, *flags):
    return main([f"--config={project.folder}/config.yaml", f"--output={project.folder}/labels", *flags])


def imports(path):
    """Top-level names that a module imports, at its head or inside."""
    for node in ast.walk(ast.parse(pathlib.Path(path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_imports_no_more_than_the_worker_image_has():
    done = python(IMPORTED)
    assert done.returncode == 0, done.stderr
    asked = (ROOT / "deploy/dataflow/requirements.in").read_text().splitlines()
    asked = {line.partition("[")[0] for line in asked if not line.startswith("#")}
    owners = importlib.metadata.packages_distributions()
    found = {name for path in done.stdout.split() for name in imports(path)} - {*OURS, *sys.stdlib_module_names}
    found -= {"deltalake", "pyiceberg"}  # Only where the job is started from, and only for such tables.
    assert "pyarrow" in found
    # Python 3.10 knows the owners of those only whose packages list their modules in a file of their own.
    by_name = {name: owners.get(name, [name.replace("_", "-")]) for name in found}
    assert not {name for name, of_it in by_name.items() if not {owner.lower() for owner in of_it} & asked}


def test_labels_without_tensorflow(project):
    config = project.write()
    output = project.folder / "labels"
    code = "from pipelines.labels.main import main\nsys.exit(main(sys.argv[1:]))"
    done = python(code, f"--config={config}", f"--output={output}", "--set=labels.shards=3;attribution.window_hours=6")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["rows"]["clicks"]["read"] == 600
    assert {file["path"][-8:] for file in manifest["files"]} == {"00006.gz"}  # two days in three shards


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config=c.yaml"], "error: --output missing"),
        (["--config=c.yaml", "--output=o", "--ovrwrite"], "unknown flag '--ovrwrite'; did you mean '--overwrite'?"),
        (["--config=c.yaml", "--output=o", "--overwrite=yes"], "expected true or false, found 'yes'"),
        (["--config=c.yaml", "--output=o", "--set=labels.shards"], "c.yaml: no such config file"),
        (["--config=c.yaml", "--output=o", "--dry_run=perhaps"], "--dry_run: expected true or false, found 'perhaps'"),
    ],
)
def test_wrong_flags_are_said_and_exit_with_1(capsys, flags, message):
    assert main(flags) == 1
    assert message in capsys.readouterr().err


def test_a_finished_output_is_replaced_only_if_told_to(project, capsys):
    project.write()
    assert run(project) == 0
    assert run(project) == 1
    assert "finished already" in capsys.readouterr().err
    assert run(project, "--overwrite=true") == 0


def test_an_output_in_use_is_left_as_it_is(project, capsys):
    project.write()
    output = project.folder / "labels"
    with locks.lock(str(output)):
        files.write_text(f"{output}/{manifest.MARK}", "")
        files.write_text(f"{output}/Split-train/half.gz", "of the other job")
        assert run(project) == 1
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err
    assert (output / "Split-train/half.gz").exists()


@pytest.mark.parametrize("entry", ["pipelines.labels.main", "pipelines.cli"])
def test_the_labels_of_a_run_are_written_by_one_process_whichever_command_it_is(project, entry):
    """Two processes: this one holds the run, or the labels in it."""
    config, run_directory = project.write(), str(project.folder / "run")
    words = ["labels", config, "--output", run_directory]
    place = f"{run_directory}/labels"
    if entry == "pipelines.labels.main":
        words, place = [f"--config={config}", f"--output={run_directory}/labels"], run_directory
    with locks.lock(place):
        done = subprocess.run([sys.executable, "-m", entry, *words], capture_output=True, text=True, check=False)
    assert done.returncode and "is in use by process" in done.stderr
    assert not list(project.folder.glob("run/**/*.gz")) and not list(project.folder.glob("run/**/_INCOMPLETE"))


def test_a_lock_is_nobodys_file_and_is_kept(project):
    project.write()
    lock = project.folder / "labels/.lock"
    with locks.lock(str(lock.parent)):
        held = lock.stat().st_ino
    for flags in ((), ("--overwrite",)):  # Nobody made it so far; all but the lock is deleted.
        assert run(project, *flags) == 0
        assert lock.stat().st_ino == held


def test_a_launched_template_finishes_without_its_launcher(project):
    MemoryFileSystem.reset()
    store, config, output = MemoryFileSystem, upload(project), f"{HOME}/labels"
    for name in ("staging", "temp"):
        (project.folder / name).mkdir()
    launched = [
        "--runner=DataflowRunner",
        "--project=my-project",
        "--region=europe-west1",
        f"--staging_location={project.folder}/staging",
        f"--temp_location={project.folder}/temp",
        f"--template_location={project.folder}/staging/job_object",
        "--sdk_container_image=registry/mal-tf/labels:1",
        "--no_auth",
        "--dataflow_endpoint=http://localhost",
    ]
    assert main([f"--config={config}", f"--output={output}", *launched]) == 0
    assert f"{output}/manifest.json" not in store.objects  # Dataflow has not begun

    job = json.loads((project.folder / "staging/job_object").read_text())
    (pool,) = job["environment"]["workerPools"]
    assert pool["workerHarnessContainerImage"] == "registry/mal-tf/labels:1"
    assert job["environment"]["sdkPipelineOptions"]["options"]["output"] == output
    graph = beam_runner_api_pb2.Pipeline.FromString((project.folder / "staging/pipeline.pb").read_bytes())
    for environment in graph.components.environments.values():
        environment.urn = python_urns.EMBEDDED_PYTHON
    assert FnApiRunner().run_via_runner_api(graph, PipelineOptions([])).wait_until_finish() == "DONE"

    there = dict(store.objects)
    assert main([f"--config={config}", f"--output={output}", "--overwrite"]) == 0
    here, told = dict(store.objects), f"{output}/manifest.json"
    assert here.pop(told) and there.pop(told)  # not the same: they tell the seconds spent
    here, there = (
        {re.sub("/generation-[^/]+", "", path): data for path, (data, _) in objects.items()}
        for objects in (here, there)
    )
    assert here == there
