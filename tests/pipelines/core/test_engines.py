"""What clusters need is said in one line before a job begins; their own flags are passed on."""

import concurrent.futures
import socket

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2 as job_api
from apache_beam.portability.api import beam_job_api_pb2_grpc as job_service

from features.errors import MalTfError
from pipelines.core import beam_runner, engines

PORTABLE = ("--runner=PortableRunner", "--environment_type=LOOPBACK")


class Server(job_service.JobServiceServicer):
    def DescribePipelineOptions(self, request, context):
        kinds = job_api.PipelineOptionType
        return job_api.DescribePipelineOptionsResponse(
            options=[
                job_api.PipelineOptionDescriptor(name="slots", type=kinds.INTEGER),
                job_api.PipelineOptionDescriptor(name="reuse", type=kinds.BOOLEAN),
            ]
        )


@pytest.fixture
def endpoint():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    job_service.add_JobServiceServicer_to_server(Server(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None)


@pytest.fixture
def nowhere():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"localhost:{free.getsockname()[1]}"


def check(*flags):
    engines.check(beam_runner.pipeline_options(flags))


@pytest.mark.parametrize(
    "flags",
    [
        ("--runner=FlinkRunner", "--checkpointing_interval=60000", "--object_reuse", "--parallelism=4"),
        ("--runner=SparkRunner", "--storage_level=DISK_ONLY", "--cache_disabled"),
    ],
)
def test_flags_of_an_engine_are_passed_on(flags):
    options = beam_runner.pipeline_options(flags)
    assert options._flags == list(flags)


def test_flags_that_a_job_server_describes_are_passed_on(endpoint):
    flags = [*PORTABLE, f"--job_endpoint={endpoint}", "--slots=3", "--reuse"]
    assert beam_runner.pipeline_options(flags)._flags == flags
    with pytest.raises(MalTfError, match="unknown flag '--slot=3'; did you mean '--slots'"):
        beam_runner.pipeline_options([*flags, "--slot=3"])


@pytest.mark.parametrize(
    "flags",
    [
        ("--checkpointing_interval=60000",),
        ("--runner=SparkRunner", "--checkpointing_interval=60000"),
        ("--runner=FlinkRunner", "--checkpointing_intervall=60000"),
    ],
)
def test_a_flag_that_the_engine_does_not_know_is_an_error(flags):
    with pytest.raises(MalTfError, match="unknown flag '--checkpointing"):
        beam_runner.pipeline_options(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--runner=PortableRunner",), "--job_endpoint=HOST:PORT of the job server is missing"),
        (("--runner=FlinkRunner", "--job_server_java_launcher=/no/java"), "there is no /no/java; install Java"),
        (("--runner=FlinkRunner", "--flink_job_server_jar=no.jar"), "flinkrunner's job server can't be had"),
        (("--runner=SparkRunner", "--spark_job_server_jar=no.jar"), "sparkrunner's job server can't be had"),
        (("--runner=PrismRunner", "--prism_location=/no/prism"), "--prism_location: /no/prism does not exist"),
        (("--runner=DataflowRunner", "--no_auth"), "without mal-tf: give --sdk_container_image"),
        (("--runner=DataflowRunner", "--no_auth", "--setup_file=no.py"), "--setup_file: no.py does not exist"),
    ],
)
def test_what_is_missing_is_said(monkeypatch, flags, message):
    if "java_launcher" not in "".join(flags):
        monkeypatch.setattr(engines.shutil, "which", lambda _: "/usr/bin/java")
    with pytest.raises(MalTfError, match=message):
        check(*flags)


def test_no_credentials_for_dataflow_are_said(monkeypatch):
    monkeypatch.setattr(engines.auth, "get_service_credentials", lambda _: None)
    with pytest.raises(MalTfError, match="no credentials of Google Cloud"):
        check("--runner=DataflowRunner", "--sdk_container_image=image")


def test_no_job_server_is_said(monkeypatch, nowhere):
    monkeypatch.setattr(engines, "_PATIENCE", 0.2)
    with pytest.raises(MalTfError, match=f"expected a job server of Beam at {nowhere}, but it does not answer"):
        check(*PORTABLE, f"--job_endpoint={nowhere}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "would run Beam's own image, without mal-tf"),
        (("--environment_type=EXTERNAL",), "expected HOST:PORT of a worker pool, found ''"),
        (("--environment_type=EXTERNAL", "--environment_config={}"), "no worker pool at {}, seen from here"),
    ],
)
def test_no_workers_are_said(endpoint, nowhere, flags, message):
    flags = [flag.format(nowhere) for flag in flags]
    with pytest.raises(MalTfError, match=message.format(nowhere)):
        check("--runner=PortableRunner", f"--job_endpoint={endpoint}", *flags)


@pytest.mark.parametrize(
    "flags",
    [
        ("--environment_type=LOOPBACK",),
        ("--sdk_container_image=image",),
        ("--extra_package=mal_tf.whl",),
        ("--environment_option=docker_container_image=image",),
        ("--environment_type=EXTERNAL", "--environment_option=external_service_address={}"),
        ("--environment_type=EXTERNAL", '--environment_config={{"url": "{}"}}'),
    ],
)
def test_nothing_is_missing(endpoint, flags):
    flags = [flag.format(endpoint) for flag in flags]
    check("--runner=PortableRunner", f"--job_endpoint={endpoint}", *flags)


def test_runners_in_this_process_need_nothing():
    check("--runner=FnApiRunner")


def test_local_paths_are_for_local_runners_or_shared_disks():
    paths = [("output", "/data/labels")]
    with pytest.raises(MalTfError, match="give --shared_disk if it is the workers', too"):
        beam_runner.check_remote_paths(beam_runner.pipeline_options(PORTABLE), paths)
    beam_runner.check_remote_paths(beam_runner.pipeline_options([*PORTABLE, "--shared_disk"]), paths)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Traceback:\n  File x\nModuleNotFoundError: No module named 'pipelines'\n",
            "workers of flinkrunner have no mal-tf",
        ),
        (
            "java.lang.RuntimeException: SDK harness\n  at a.b(C.java:1)\nTraceback\n  File x\nValueError: 7 [while running 'A']",
            "flinkrunner could not run the job: ValueError: 7; its log has the details",
        ),
        ("Channel closed.", "flinkrunner could not run the job: Channel closed.; its log"),
        ("", "flinkrunner could not run the job: RuntimeError; its log"),
    ],
)
def test_an_error_of_a_cluster_is_one_line(text, said):
    line = engines.in_one_line("flinkrunner", RuntimeError(text))
    assert said in line and "\n" not in line


def test_a_worker_that_lacks_an_input_says_so(tmp_path):
    there = tmp_path / "clicks.csv"
    there.touch()
    options = beam_runner.pipeline_options()
    engines.probe(options, [str(there)], str(tmp_path / "new/labels")).run()
    with pytest.raises(MalTfError, match="no/clicks.csv is not there for the worker"):
        beam_runner.run(engines.probe(options, [str(tmp_path / "no/clicks.csv")], str(tmp_path)))
