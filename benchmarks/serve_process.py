"""Measures one exported model: `python -m benchmarks.serve_process SETTINGS.json RESULT.json`."""

import concurrent.futures
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks import runtimes


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a process that measures one model.

    Attributes:
        runtime: one of `runtimes.NEEDS`.
        version: path that it loads: directory of the SavedModel, or a file.
        requests: `.npz` file with the values of the largest batch, named `<signature>/<input>`.
        signatures: signatures to call: the model's name by the requests' name.
        threads: number of threads within and between operations.
        warmup: whether the warm-up file is run first.
        batches: sizes of the requests; if empty, only the first call is measured.
        calls: number of calls of each size.
        callers: number of concurrent callers, for the throughput.
        seconds: duration of the throughput measurement.
        shared_batch: size of the requests of the throughput measurement and of the first call.
    """

    runtime: str
    version: str
    requests: str
    signatures: Mapping[str, str]
    threads: int
    warmup: bool
    batches: Sequence[int]
    calls: int
    callers: int
    seconds: float
    shared_batch: int


def measure(settings: Settings) -> dict:
    """Load and call the model.

    Returns:
        `load` and `warmup`, in seconds; `memory`, resident bytes after the imports, the load and all calls; and by signature
        `first`, milliseconds of the first call, `latency`, p50, p99 and mean CPU time in milliseconds by batch size, and
        `throughput`, requests per second.
    """
    from features.keras2 import tf

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    tf.constant(0)  # Sets up TensorFlow's threads and devices, which is not part of loading.
    memory, began = [_resident()], time.perf_counter()
    prepare = runtimes.prepare(settings.runtime, settings.version, settings.threads)
    result = {"load": time.perf_counter() - began, "warmup": 0.0, "first": {}, "latency": {}, "throughput": {}}
    memory.append(_resident())
    if settings.warmup:
        from mal_tf.serving import warmup

        began = time.perf_counter()
        for _ in warmup.replay(settings.version, {n: lambda p=p, **inputs: p(inputs)() for n, p in prepare.items()}):
            pass
        result["warmup"] = time.perf_counter() - began
    data = np.load(settings.requests, allow_pickle=True)
    for name, signature in settings.signatures.items():
        values = {key.split("/")[1]: data[key] for key in data.files if key.startswith(f"{name}/")}

        def sized(batch: int, signature=signature, values=values) -> Callable[[], object]:
            return prepare[signature]({key: v[:batch] for key, v in values.items()})  # Inputs of the user have one row.

        result["first"][name] = _milliseconds(sized(settings.shared_batch))
        if settings.batches:
            result["latency"][name] = {batch: _latency(sized(batch), settings.calls) for batch in settings.batches}
            calls = [sized(settings.shared_batch) for _ in range(settings.callers)]
            result["throughput"][name] = _throughput(calls, settings.seconds)
    return result | {"memory": [*memory, _resident()]}


def _latency(call: Callable[[], object], calls: int) -> list[float]:
    for _ in range(max(calls // 10, 3)):  # Excludes the cost of a new shape.
        call()
    began = time.process_time()
    passed = [_milliseconds(call) for _ in range(calls)]
    return [*np.percentile(passed, [50, 99]), (time.process_time() - began) / calls * 1e3]


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def _throughput(calls: Sequence[Callable[[], object]], seconds: float) -> float:
    began = time.perf_counter()

    def ask(call: Callable[[], object]) -> int:
        done = 0
        while time.perf_counter() - began < seconds:
            call()
            done += 1
        return done

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        done = sum(pool.map(ask, calls))
    return done / (time.perf_counter() - began)


def _resident() -> int:
    line = next(s for s in pathlib.Path("/proc/self/status").read_text().splitlines() if s.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    settings = Settings(**json.loads(pathlib.Path(sys.argv[1]).read_text()))
    pathlib.Path(sys.argv[2]).write_text(json.dumps(measure(settings)))
