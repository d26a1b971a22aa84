"""Clusters that run Beam jobs (Flink, Spark, Prism, Dataflow): their flags, and what has to be there before a submission."""

import contextlib
import copy
import json
import logging
import os
import pathlib
import re
import shutil
import socket
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.internal.gcp import auth
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SetupOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.portability.api import beam_job_api_pb2 as job_api
from apache_beam.runners.portability import job_server
from apache_beam.transforms.environments import looks_like_json

from features.errors import MalTfError
from pipelines.core import files

#: Flags of Flink's and Spark's runners that are known to their job servers and not to Beam for Python, as of Beam 2.72.
_SERVER_FLAGS = {
    "flinkrunner": (
        "auto_watermark_interval checkpoint_timeout_millis checkpointing_interval checkpointing_mode execution_mode_for_batch "
        "execution_retry_delay flink_conf_dir latency_tracking_interval max_bundle_size max_bundle_time_mills "
        "min_pause_between_checkpoints num_concurrent_checkpoints number_of_execution_retries report_checkpoint_duration "
        "savepoint_path shutdown_sources_after_idle_ms state_backend state_backend_factory state_backend_storage_path"
    ),
    "sparkrunner": (
        "batch_interval_millis bundle_size checkpoint_dir checkpoint_duration_millis max_records_per_batch "
        "min_read_time_millis read_time_percentage storage_level streaming_timeout_ms"
    ),
}

#: Those that take no value.
_SERVER_SWITCHES = {
    "flinkrunner": (
        "allow_non_restored_state auto_balance_write_files_sharding_enabled disable_metrics externalized_checkpoints_enabled "
        "fail_on_checkpointing_errors faster_copy finish_bundle_before_checkpointing object_reuse operator_chaining "
        "re_iterable_group_by_key_result retain_externalized_checkpoints_on_cancellation"
    ),
    "sparkrunner": "cache_disabled enable_spark_metric_sinks prefer_group_by_key_to_handle_huge_values",
}

#: Seconds that a server may take to answer.
_PATIENCE = 20

#: Length of what is quoted of an error.
_LONGEST = 500

log = logging.getLogger("mal_tf.run")


class EngineOptions(PipelineOptions):
    """Flags of every command that takes Beam's."""

    @classmethod
    def _add_argparse_args(cls, parser):
        parser.add_argument(
            "--shared_disk",
            action="store_true",
            help="Local paths are the same files for the workers of a remote runner, as on NFS.",
        )


def runner_of(options: PipelineOptions) -> str:
    """Name of the runner in small letters, without its module."""
    return (options.view_as(StandardOptions).runner or "").rpartition(".")[2].lower()


def server_flags(options: PipelineOptions) -> tuple[list[str], list[str]]:
    """Names of the flags that the job server knows: those with a value and those without one.

    Raises:
        MalTfError: there is no job server at --job_endpoint.
    """
    endpoint = options.view_as(PortableOptions).job_endpoint
    if not endpoint or endpoint == "embed":
        name = runner_of(options)
        return _SERVER_FLAGS.get(name, "").split(), _SERVER_SWITCHES.get(name, "").split()
    described = _ask(endpoint).options
    switches = [option.name for option in described if option.type == job_api.PipelineOptionType.BOOLEAN]
    return [option.name for option in described if option.name not in switches], switches


def _ask(endpoint: str) -> job_api.DescribePipelineOptionsResponse:
    try:
        service = job_server.ExternalJobServer(endpoint, _PATIENCE).start()
        return service.DescribePipelineOptions(job_api.DescribePipelineOptionsRequest(), timeout=_PATIENCE)
    except Exception as error:
        raise MalTfError(
            f"--job_endpoint: expected a job server of Beam at {endpoint}, but it does not answer; start it, or correct the "
            "address"
        ) from error


def check(options: PipelineOptions) -> None:
    """Checks that what a job needs beside its data is there, before anything is cleared or submitted.

    Raises:
        MalTfError: the runner's job server, jar, Java, image, worker pool or credentials are missing.
    """
    name, portable = runner_of(options), options.view_as(PortableOptions)
    if name == "dataflowrunner":
        _check_dataflow(options)
        return
    if portable.job_endpoint:
        if portable.job_endpoint != "embed":
            _ask(portable.job_endpoint)
    elif name == "portablerunner":
        raise MalTfError("--runner=PortableRunner: --job_endpoint=HOST:PORT of the job server is missing")
    elif name in ("flinkrunner", "sparkrunner"):
        _check_jar(name, options)
    elif name == "prismrunner":
        binary = options.view_as(PrismRunnerOptions).prism_location
        if binary and "://" not in binary and not os.path.exists(binary):
            raise MalTfError(f"--prism_location: {binary} does not exist")
    if is_portable(options):
        _check_environment(options)


def _check_jar(name: str, options: PipelineOptions) -> None:
    from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
    from apache_beam.runners.portability.spark_runner import SparkJarJobServer

    java = options.view_as(JobServerOptions).job_server_java_launcher
    uber = (
        options.view_as(FlinkRunnerOptions).flink_submit_uber_jar
        or options.view_as(SparkRunnerOptions).spark_submit_uber_jar
    )
    if not uber and shutil.which(java) is None:
        raise MalTfError(
            f"--runner: the job server of {name} is a Java program, but there is no {java}; install Java 11 or 17, or give "
            "--job_endpoint of a job server that runs elsewhere"
        )
    server, flag = {
        "flinkrunner": (FlinkJarJobServer, "--flink_job_server_jar"),
        "sparkrunner": (SparkJarJobServer, "--spark_job_server_jar"),
    }[name]
    try:
        server.local_jar(server(options).path_to_jar())
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MalTfError(
            f"--runner: the jar of {name}'s job server can't be had: {reason}. Give its path by {flag}, or --job_endpoint of "
            "a job server that runs elsewhere"
        ) from error


def _has_package(options: PipelineOptions) -> bool:
    """Whether Beam is told to install something on the workers that may be mal-tf."""
    setup = options.view_as(SetupOptions)
    return bool(setup.setup_file or setup.requirements_file or setup.extra_packages)


def _default_environment(options: PipelineOptions) -> str:
    """Where the workers run without --environment_type: runners that begin their own cluster run them in this process."""
    begun_here = {
        "flinkrunner": options.view_as(FlinkRunnerOptions).flink_master in ("[local]", "[auto]"),
        "sparkrunner": options.view_as(SparkRunnerOptions).spark_master_url.startswith("local"),
        "prismrunner": True,
    }
    return "LOOPBACK" if begun_here.get(runner_of(options)) else "DOCKER"


def _check_environment(options: PipelineOptions) -> None:
    portable, image = options.view_as(PortableOptions), options.view_as(WorkerOptions).sdk_container_image
    kind, config = portable.environment_type, portable.environment_config or ""
    image = image or portable.lookup_environment_option("docker_container_image")
    if (kind or _default_environment(options)) == "DOCKER" and not (image or config or _has_package(options)):
        raise MalTfError(
            "the workers would run Beam's own image, without mal-tf: give --sdk_container_image=IMAGE "
            "(deploy/dataflow/README.md), --environment_type=EXTERNAL with --environment_config=HOST:PORT of a worker "
            "pool, or --environment_type=LOOPBACK to run the workers in this process"
        )
    if kind == "EXTERNAL":
        config = config or portable.lookup_environment_option("external_service_address") or ""
        if looks_like_json(config):
            with contextlib.suppress(ValueError):
                config = json.loads(config).get("url", "")
        host, colon, port = config.removeprefix("http://").rpartition(":")
        if not colon or not port.isdigit():
            raise MalTfError(f"--environment_config: expected HOST:PORT of a worker pool, found '{config}'")
        try:
            socket.create_connection((host, int(port)), _PATIENCE).close()
        except OSError as error:
            here = (portable.job_endpoint or "").partition(":")[0] in ("localhost", "127.0.0.1")
            said = f"--environment_config: no worker pool at {config}, seen from here ({error.strerror or error})"
            if here and runner_of(options) == "portablerunner":
                raise MalTfError(
                    f"{said}; start it: python -m apache_beam.runners.worker.worker_pool_main --service_port={port}"
                ) from error
            log.warning("%s; one has to listen there on every machine that runs tasks", said)


def _check_dataflow(options: PipelineOptions) -> None:
    setup, image = options.view_as(SetupOptions).setup_file, options.view_as(WorkerOptions).sdk_container_image
    if not image and not _has_package(options):
        raise MalTfError(
            "Dataflow's workers would run Beam's own image, without mal-tf: give --sdk_container_image=IMAGE "
            "(deploy/dataflow/README.md) or --setup_file=./setup.py"
        )
    if setup is not None and not os.path.exists(setup):
        raise MalTfError(f"--setup_file: {setup} does not exist")
    if not options.view_as(GoogleCloudOptions).no_auth and auth.get_service_credentials(options) is None:
        raise MalTfError(
            "--runner=DataflowRunner: there are no credentials of Google Cloud; `gcloud auth application-default login`"
        )


def is_portable(options: PipelineOptions) -> bool:
    """Whether a job server takes the job, as for Flink, Spark and Prism."""
    return runner_of(options) in ("portablerunner", "flinkrunner", "sparkrunner", "prismrunner")


def probe(options: PipelineOptions, read: Sequence[str], output: str) -> beam.Pipeline:
    """Makes a job that a worker ends with a `MalTfError` if it lacks what the real job needs, before that begins.

    Args:
        options: those of the real job.
        read: files that workers read, of which one in each folder is looked at.
        output: the directory that they write to, which need not exist.
    """
    written, local = pathlib.Path(output), files.is_local(output)
    while local and not written.exists():
        written = written.parent
    # A copy, as Beam clears the runner in the options of a job that it submits.
    pipeline = beam.Pipeline(options=copy.deepcopy(options))
    one_of_each = {path.rpartition("/")[0]: path for path in read}.values()
    paths = [
        *((path, True) for path in one_of_each),
        (str(written) if files.is_local(output) else output, files.is_local(output)),
    ]
    _ = pipeline | "Paths" >> beam.Create(paths) | "See" >> beam.MapTuple(_see)
    return pipeline


def _see(path: str, must_exist: bool) -> None:
    found = os.path.exists(path) if files.is_local(path) else files.exists(path)
    if must_exist and not found:
        raise MalTfError(f"{path} is not there for the worker on {socket.gethostname()}, which needs it")


def not_of_portable_runner(record: logging.LogRecord) -> bool:
    """Whether a record of the root logger is not one of a job server's messages, which are whole tracebacks."""
    return record.module != "portable_runner"


def in_one_line(runner: str, error: Exception) -> str:
    """The message for people of an error of a cluster, which came with the tracebacks of all that it went through."""
    text = str(error)
    if lacking := re.search(r"No module named '(features|mal_tf|pipelines)\b", text):
        return (
            f"the workers of {runner} have no mal-tf ({lacking.group(0)}): install the version of this machine where the worker "
            "pools run, or build the image of deploy/dataflow/README.md"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    said = (raised or lines)[-1].partition(" [while running")[0]
    return f"{runner} could not run the job: {said[:_LONGEST]}; its log has the details"
