"""Dry run: the graph that Dataflow would get, built and looked at without submitting it."""

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions, WorkerOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

from features.errors import MalTfError


def graph(pipeline: beam.Pipeline) -> beam_runner_api_pb2.Pipeline:
    """The portable graph of a pipeline with the flag `--dry_run=true`, after Dataflow's own changes to it.

    Needs neither credentials nor a network.

    Raises:
        MalTfError: the pipeline is for another runner.
    """
    if not isinstance(pipeline.runner, DataflowRunner):
        raise MalTfError(
            f"--dry_run=true goes with --runner=DataflowRunner, found {type(pipeline.runner).__name__}; "
            "other runners have nothing to submit: run the job on a sample instead"
        )
    return pipeline.run().job.proto_pipeline


def images(proto: beam_runner_api_pb2.Pipeline) -> set[str]:
    """Container images that the workers would run."""
    payloads = [environment.payload for environment in proto.components.environments.values()]
    return {beam_runner_api_pb2.DockerPayload.FromString(payload).container_image for payload in payloads}


def steps(proto: beam_runner_api_pb2.Pipeline) -> list[str]:
    """Names of the job's own steps, in the order in which they were put together."""
    transforms = proto.components.transforms
    (job,) = (transforms[root] for root in _roots(proto))
    return [transforms[part].unique_name.removeprefix(f"{job.unique_name}/") for part in job.subtransforms]


def shuffles(proto: beam_runner_api_pb2.Pipeline) -> list[str]:
    """Names of all steps at which data crosses between workers, sorted."""
    group_by_key = common_urns.primitives.GROUP_BY_KEY.urn
    return sorted(t.unique_name for t in proto.components.transforms.values() if t.spec.urn == group_by_key)


def describe(pipeline: beam.Pipeline) -> str:
    """Text for people about what would be submitted; nothing is."""
    proto = graph(pipeline)
    cloud, workers = (pipeline.options.view_as(kind) for kind in (GoogleCloudOptions, WorkerOptions))
    lines = {
        "job": f"{cloud.job_name} in {cloud.project}, {cloud.region}",
        "image": ", ".join(sorted(images(proto))),
        "workers": f"at most {workers.max_num_workers or 'as many as Dataflow sees fit'}, "
        f"{workers.machine_type or 'default machine type'}",
        "steps": ", ".join(steps(proto)),
        "shuffles": ", ".join(shuffles(proto)),
    }
    text = "\n".join(f"{name + ':':10}{value}" for name, value in lines.items())
    return f"Dry run for {pipeline.options.view_as(StandardOptions).runner}: nothing was submitted or written.\n{text}"


def _roots(proto: beam_runner_api_pb2.Pipeline) -> list[str]:
    """The transforms applied to the pipeline itself; Beam wraps them in a nameless one."""
    roots = list(proto.root_transform_ids)
    while len(roots) == 1 and not proto.components.transforms[roots[0]].unique_name:
        roots = list(proto.components.transforms[roots[0]].subtransforms)
    return roots
