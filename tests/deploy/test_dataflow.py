"""What a flex template is built from agrees with the code and with the root lock."""

import argparse
import json
import pathlib
import re

import pytest
from packaging.requirements import Requirement

from pipelines.core.beam_runner import pipeline_options
from pipelines.labels.options import LabelOptions

ROOT = pathlib.Path(__file__).parents[2]
HERE = ROOT / "deploy/dataflow"
METADATA = (HERE / "metadata.json").read_text()
PARAMETERS = {parameter["name"]: parameter for parameter in json.loads(METADATA)["parameters"]}
DOCKERFILE = (HERE / "Dockerfile").read_text()

#: The one parameter that is a flag of Beam's.
BEAM = {"sdk_container_image"}

SAMPLES = {
    "config": ("gs://bucket/shop/config.yaml", "shop/config.yaml"),
    "output": ("gs://bucket/runs/shop/labels", "gs://bucket"),
    "sdk_container_image": ("europe-west1-docker.pkg.dev/my-project/mal-tf/labels:1", "labels"),
    "set": ("labels.shards=256;attribution.window_hours=168", "labels.shards"),
    "overwrite": ("true", "yes"),
}


def pins(path, python="3.11"):
    """Versions that a lock holds for an interpreter."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    lines = re.findall(r"^(\w[^\\#\n]*)", path.read_text(), re.M)
    wanted = [entry for entry in map(Requirement, lines) if not entry.marker or entry.marker.evaluate(environment)]
    return {entry.name: str(entry.specifier).removeprefix("==") for entry in wanted}


def label_flags():
    parser = argparse.ArgumentParser()
    LabelOptions._add_argparse_args(parser)
    return {action.dest for action in parser._actions} - {"help"}


def test_template_has_just_the_label_jobs_flags_and_requires_the_same():
    assert set(PARAMETERS) - BEAM == label_flags()
    required = {name for name, parameter in PARAMETERS.items() if not parameter["isOptional"]}
    assert required == {*LabelOptions.REQUIRED, *BEAM}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_value_that_the_template_lets_through_is_one_the_job_takes(name):
    good, bad = SAMPLES[name]
    for regex in PARAMETERS[name]["regexes"]:
        assert re.fullmatch(regex, good) and not re.fullmatch(regex, bad)
    assert pipeline_options([f"--{name}={good}"]).view_as(LabelOptions)


def test_metadata_is_what_the_service_expects():
    try:
        from google.cloud.dataflow_v1beta3 import TemplateMetadata
    except ImportError:  # Beam 2.72 brings messages of its own.
        from apache_beam.runners.dataflow.internal.clients.dataflow import TemplateMetadata
        from apitools.base.py import encoding

        message = encoding.JsonToMessage(TemplateMetadata, METADATA)
        assert not any(m.all_unrecognized_fields() for m in (message, *message.parameters))
    else:
        assert TemplateMetadata.from_json(METADATA).parameters
    for parameter in PARAMETERS.values():
        assert all(parameter[field] for field in ("name", "label", "helpText", "paramType"))


def test_image_copies_what_exists_and_runs_what_it_copies():
    default = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.M))
    copied = re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE, re.M)
    for sources, _ in copied:
        for source in sources.split():
            assert (ROOT / re.sub(r"\$\{(\w+)\}", lambda m: default[m[1]], source)).exists(), source
    (launched,) = re.findall(r"^ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/(\S+)$", DOCKERFILE, re.M)
    assert ("pipelines/labels/main.py", launched) in copied
    assert "ENTRYPOINT" not in DOCKERFILE  # the base image's, which workers need


def test_base_images_can_be_named_by_digest_and_the_image_does_not_run_as_root():
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    arguments = dict(re.findall(r"^ARG (\w+)=(\S*)$", DOCKERFILE, re.M))
    digests = [re.search(r"\$\{(\w+_DIGEST)\}$", base)[1] for base in bases]
    assert [arguments[name] for name in digests] == ["", ""]
    assert all(f"--build-arg {name}=$(digest " in (HERE / "README.md").read_text() for name in digests)
    last = DOCKERFILE.strip().splitlines()[-1]
    assert (
        last == "USER ${RUN_AS}"
        and arguments["RUN_AS"] != "root"
        and f"useradd --create-home --shell /usr/sbin/nologin {arguments['RUN_AS']}" in DOCKERFILE
    )


def test_workers_run_the_beam_that_submits():
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.M))
    others = dict(re.findall(r"--build-arg (\w+)=(\S+)", DOCKERFILE))
    for python, beam in ((arguments["PYTHON"], arguments["BEAM"]), (others["PYTHON"], others["BEAM"])):
        for lock in (HERE, ROOT):
            assert pins(lock / "requirements.lock", python)["apache-beam"] == beam


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_lock_is_a_part_of_the_root_lock_without_tensorflow(python):
    here, root = pins(HERE / "requirements.lock", python), pins(ROOT / "requirements.lock", python)
    assert here.items() <= root.items()
    assert not [name for name in here if re.match(r"tensor|tf-|tfx|keras$", name)]
    wanted = [line.split("[")[0] for line in (HERE / "requirements.in").read_text().splitlines() if line[0] != "#"]
    assert set(wanted) <= set(here)
