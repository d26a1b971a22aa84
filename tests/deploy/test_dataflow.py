"""What a flex template is built from agrees with the code and with the root lock."""

import argparse
import json
import pathlib
import re

import pytest
from apache_beam.runners.dataflow.internal.clients.dataflow import TemplateMetadata
from apitools.base.py import encoding

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


def pins(path):
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


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
    message = encoding.JsonToMessage(TemplateMetadata, METADATA)
    unknown = [m.all_unrecognized_fields() for m in (message, *message.parameters)]
    assert not any(unknown)
    assert all(p.name and p.label and p.helpText and p.paramType for p in message.parameters)


def test_image_copies_what_exists_and_runs_what_it_copies():
    default = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.M))
    copied = re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE, re.M)
    for sources, _ in copied:
        for source in sources.split():
            assert (ROOT / re.sub(r"\$\{(\w+)\}", lambda m: default[m[1]], source)).exists(), source
    (launched,) = re.findall(r"^ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/(\S+)$", DOCKERFILE, re.M)
    assert ("pipelines/labels/main.py", launched) in copied
    assert "ENTRYPOINT" not in DOCKERFILE  # the base image's, which workers need


def test_workers_run_the_beam_that_submits():
    (base,) = re.findall(r"^FROM apache/beam_python3\.11_sdk:(\S+)$", DOCKERFILE, re.M)
    assert base == pins(HERE / "requirements.lock")["apache-beam"] == pins(ROOT / "requirements.lock")["apache-beam"]


def test_lock_is_a_part_of_the_root_lock_without_tensorflow():
    here, root = pins(HERE / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert here.items() <= root.items()
    assert not [name for name in here if re.match(r"tensor|tf-|tfx|keras$", name)]
    wanted = [line.split("[")[0] for line in (HERE / "requirements.in").read_text().splitlines() if line[0] != "#"]
    assert set(wanted) <= set(here)
