"""Runs a command of mal-tf against a job server and worker pools of Beam that this script starts and stops.

`python deploy/engines/cluster.py --pools 3 -- mal-tf labels config.yaml --output gs://bucket/shop` appends the flags of the
runner to the command. The job server is Beam's own (`--server python`) or Prism (`--server PATH` of its binary); each pool
starts the Python workers of a machine. With --namespaces, which needs root, each pool is in a network namespace of its own.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import ipaddress
import itertools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc as fn_api
from apache_beam.portability.api import beam_job_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

#: Root of the repository, which the workers import mal-tf from.
ROOT = pathlib.Path(__file__).resolve().parents[2]

#: Seconds that a server has to begin to listen.
_PATIENCE = 120

#: Network of the namespaces' addresses, of which each pair has four.
_NETWORK = ipaddress.ip_network("10.231.0.0/16")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        flags: flags of the runner, for mal-tf.
        pools: the pools' processes; each leads a process group with its workers.
    """

    flags: list[str]
    pools: list[subprocess.Popen]


class _InTurn(fn_api.BeamFnExternalWorkerPoolServicer):
    """A pool that has the workers started by the others in turn, as a runner knows one address only."""

    def __init__(self, addresses: Sequence[str]):
        self._pools = [fn_api.BeamFnExternalWorkerPoolStub(grpc.insecure_channel(address)) for address in addresses]
        self._next, self._of = itertools.cycle(self._pools), {}

    def StartWorker(self, request, context):
        for pool in itertools.islice(self._next, len(self._pools)):
            with contextlib.suppress(grpc.RpcError):  # This pool is no more.
                started = pool.StartWorker(request)
                self._of[request.worker_id] = pool
                return started
        raise RuntimeError("all worker pools are gone")

    def StopWorker(self, request, context):
        return self._of[request.worker_id].StopWorker(request)


class _Job(local_job_service.BeamJob):
    """A job of Beam's own job service, with a worker in each pool, where Beam's has one in all.

    Like Flink with a restart strategy, it runs the job once more if a worker was lost, over what the first attempt wrote.
    """

    workers = 1

    def _invoke_runner(self):
        self.set_state(beam_job_api_pb2.JobState.RUNNING)
        try:
            return self._attempt()
        except RuntimeError as error:
            if "Channel closed" not in str(error):
                raise
            print("a worker was lost; the job starts again", file=sys.stderr, flush=True)
            return self._attempt()

    def _attempt(self):
        runner = FnApiRunner(provision_info=self._provision_info)
        runner._num_workers = self.workers
        graph = beam_runner_api_pb2.Pipeline()
        graph.CopyFrom(self._pipeline_proto)
        return runner.run_via_runner_api(graph, self.pipeline_options())


@contextlib.contextmanager
def running(
    pools: int = 1, server: str = "python", namespaces: bool = False, logs: str = os.devnull
) -> Iterator[Cluster]:
    """Starts a cluster, and stops all of it at the end.

    Args:
        pools: number of worker pools.
        server: `python` or the path of a Prism binary, which runs one worker only.
        namespaces: whether each pool is in a network namespace of its own.
        logs: file that the processes append their output to.
    """
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(logs, "ab"))
        path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"PATH": path, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}

        def start(*command: str) -> subprocess.Popen:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
            stack.callback(_stop, process)
            return process

        hosts, processes = ["localhost"] * pools, []
        if namespaces:
            hosts = [stack.enter_context(_namespace(number)) for number in range(pools)]
        ports = _free_ports(pools + 2)
        for number, port in enumerate(ports[:pools]):
            inside = ["ip", "netns", "exec", _name(number)] if namespaces else []
            module = "apache_beam.runners.worker.worker_pool_main"
            processes.append(start(*inside, sys.executable, "-W", "ignore", "-m", module, f"--service_port={port}"))
        addresses = [f"{host}:{port}" for host, port in zip(hosts, ports, strict=False)]
        if server == "python":
            start(sys.executable, "-W", "ignore", __file__, f"--serve={ports[-1]}", f"--pools={pools}", "--", "")
        else:
            start(server, f"--job_port={ports[-1]}", "--serve_http=false")
        for address in (*addresses, f"localhost:{ports[-1]}"):
            _wait(address)
        front = grpc.server(concurrent.futures.ThreadPoolExecutor(pools))
        fn_api.add_BeamFnExternalWorkerPoolServicer_to_server(_InTurn(addresses), front)
        front.add_insecure_port(f"localhost:{ports[-2]}")
        front.start()
        stack.callback(lambda: front.stop(None))
        yield Cluster(
            [
                "--runner=PortableRunner",
                f"--job_endpoint=localhost:{ports[-1]}",
                "--environment_type=EXTERNAL",
                f"--environment_config=localhost:{ports[-2]}",
            ],
            processes,
        )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(address: str) -> None:
    host, _, port = address.rpartition(":")
    for _ in range(_PATIENCE * 10):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.1)
    raise SystemExit(f"error: nothing listens at {address} after {_PATIENCE} seconds")


def _stop(process: subprocess.Popen) -> None:
    """Ends a process and all that it started, of which it leads the group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)


def _name(number: int) -> str:
    return f"mal{os.getpid()}-{number}"


@contextlib.contextmanager
def _namespace(number: int) -> Iterator[str]:
    """Makes a network namespace, in which `localhost` and this machine's name mean this machine; yields its address."""
    name, hosts = _name(number), pathlib.Path("/etc/netns") / _name(number)
    first = 4 * (os.getpid() * 16 + number) % _NETWORK.num_addresses
    here, there = _NETWORK[first + 1], _NETWORK[first + 2]
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "hosts").write_text(f"{here} localhost {socket.gethostname()} {socket.getfqdn()}\n")
    try:
        for command in (
            f"ip netns add {name}",
            f"ip link add {name} type veth peer name eth0 netns {name}",
            f"ip addr add {here}/30 dev {name}",
            f"ip link set {name} up",
            f"ip -n {name} addr add {there}/30 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip -n {name} link set lo up",
        ):
            subprocess.run(command.split(), check=True)
        yield str(there)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        (hosts / "hosts").unlink()
        hosts.rmdir()


def main() -> int:
    """Runs the command on a cluster and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=int, default=2, help="number of worker pools")
    parser.add_argument("--server", default="python", help="`python`, or the path of a Prism binary")
    parser.add_argument("--namespaces", action="store_true", help="each pool in a network namespace; needs root")
    parser.add_argument("--logs", default=os.devnull, help="file for what the servers and workers print")
    parser.add_argument("command", nargs="+", help="the command, after --")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if given.serve:
        _Job.workers = given.pools
        local_job_service.LocalJobServicer(beam_job_type=_Job).start_grpc_server(given.serve)
        threading.Event().wait()
    try:
        with running(given.pools, given.server, given.namespaces, given.logs) as cluster:
            return subprocess.run([*given.command, *cluster.flags], check=False).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
