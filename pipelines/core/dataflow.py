"""Dry run of a Dataflow job, whose graph is built and described but not submitted."""

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, WorkerOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2


def graph(pipeline: beam.Pipeline) -> beam_runner_api_pb2.Pipeline:
    """Returns the portable graph of a pipeline that has the flag `--dry_run=true`, as the Dataflow runner rewrites it.

    It needs neither credentials nor a network.
    """
    return pipeline.run().job.proto_pipeline  # type: ignore[attr-defined]  # an attribute of the Dataflow runner's result


def images(proto: beam_runner_api_pb2.Pipeline) -> list[str]:
    """Lists the container images that the workers would run, sorted."""
    payloads = [environment.payload for environment in proto.components.environments.values()]
    return sorted({beam_runner_api_pb2.DockerPayload.FromString(payload).container_image for payload in payloads})


def steps(proto: beam_runner_api_pb2.Pipeline) -> list[str]:
    """Lists the names of the job's top-level steps in the order of construction."""
    transforms, names = proto.components.transforms, list(proto.root_transform_ids)
    while len(names) == 1:  # Outer transforms that only wrap the steps.
        names = list(transforms[names[0]].subtransforms)
    return [transforms[name].unique_name for name in names]


def shuffles(proto: beam_runner_api_pb2.Pipeline) -> list[str]:
    """Lists the full names of all steps that shuffle data between workers, sorted."""
    group_by_key = common_urns.primitives.GROUP_BY_KEY.urn
    return sorted(t.unique_name for t in proto.components.transforms.values() if t.spec.urn == group_by_key)


def describe(pipeline: beam.Pipeline) -> str:
    """Describes the job that would be submitted, as text for the console."""
    proto = graph(pipeline)
    cloud, workers = (pipeline.options.view_as(kind) for kind in (GoogleCloudOptions, WorkerOptions))
    shuffling = [step for step in steps(proto) if any(f"{name}/".startswith(f"{step}/") for name in shuffles(proto))]
    lines = {
        "where": f"project {cloud.project}, region {cloud.region}, temporary files in {cloud.temp_location}",
        "workers": f"{workers.max_num_workers or 'as many as Dataflow sees fit'}, {workers.machine_type or 'default'} "
        f"machines, image {', '.join(images(proto))}",
        "steps": ", ".join(map(_short, steps(proto))),
        "shuffles": ", ".join(map(_short, shuffling)),
    }
    return "\n".join(f"{name + ':':10}{value}" for name, value in lines.items())


def _short(name: str) -> str:
    return name.split("/", 1)[-1]
