"""Whether an export can serve: a fresh process loads it, asks it and times it: `python -m pipelines.retrain.infra`."""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import numpy as np
import pydantic

from features.frozen import Frozen

#: Inputs by signature and name.
Requests = Mapping[str, Mapping[str, np.ndarray]]


class InfraConfig(Frozen):
    """How an export is tried before it may serve.

    Attributes:
        rows: clicks of a request.
        calls: timed calls of each signature, after a first one that is not timed.
        latency_ms: what the 99th percentile of no signature may exceed; None: not limited.
        timeout_s: after which the process is ended.
    """

    rows: int = pydantic.Field(100, ge=1)
    calls: int = pydantic.Field(200, ge=1)
    latency_ms: float | None = pydantic.Field(None, gt=0)
    timeout_s: float = pydantic.Field(300.0, gt=0)


@dataclasses.dataclass(frozen=True)
class Infra:
    """What was found.

    Attributes:
        reasons: why it can't serve; none if it can.
        load_s: seconds that loading took; None if it did not load.
        latency_ms: by signature, `{"p50", "p99"}` of a call, within the process: no network, no decoding of requests.
    """

    reasons: list[str]
    load_s: float | None = None
    latency_ms: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)


def check(saved_model: str, requests: Requests, config: InfraConfig) -> Infra:
    """Tries an export in a fresh process. What fails is a reason, and so is a process that dies or hangs; nothing is raised.

    Args:
        saved_model: directory of the SavedModel.
        requests: real ones, to each signature that has to be there (`mal_tf.serving.requests`).
        config: how to try it; `rows` are those that `requests` were made of.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "requests.npz")
        np.savez(path, **{f"{name}/{key}": v for name, inputs in requests.items() for key, v in inputs.items()})
        command = [sys.executable, "-m", "pipelines.retrain.infra", saved_model, str(path), str(config.calls)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=config.timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return Infra([f"{saved_model}: a fresh process did not load and answer within {config.timeout_s:g} s"])
    if done.returncode:
        how = f"exit code {done.returncode}" if done.returncode > 0 else signal.Signals(-done.returncode).name
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Infra([f"{saved_model}: a fresh process that tried it ended with {how}: {said}"])
    found = Infra(**json.loads(done.stdout.strip().splitlines()[-1]))
    slow = [
        f"{saved_model}: {name} takes {of['p99']:,.1f} ms (p99 of {config.calls:,} calls); the limit is {config.latency_ms:g} ms"
        for name, of in found.latency_ms.items()
        if config.latency_ms is not None and of["p99"] > config.latency_ms
    ]
    return dataclasses.replace(found, reasons=found.reasons + slow)


def main(saved_model: str, path: str, calls: str) -> None:
    """Tries an export in this process; prints an `Infra` without the latencies' limit, as JSON."""
    from features.keras2 import tf
    from mal_tf.serving.latency import latency

    data = np.load(path, allow_pickle=True)
    began = time.perf_counter()
    signatures = tf.saved_model.load(saved_model).signatures
    load_s, reasons, passed = time.perf_counter() - began, [], {}
    for name in dict.fromkeys(key.split("/")[0] for key in data.files):
        if name not in signatures:
            reasons.append(f"{saved_model}: expected a signature '{name}', found: {', '.join(signatures)}")
            continue
        inputs = {key.split("/", 1)[1]: tf.constant(data[key]) for key in data.files if key.startswith(f"{name}/")}
        rows = max(len(values) for values in inputs.values())
        try:
            reasons += [f"{saved_model}: {name}: {wrong}" for wrong in _wrong(signatures[name](**inputs), rows)]
            passed[name] = latency(signatures[name], inputs, int(calls))
        except (TypeError, ValueError, tf.errors.OpError) as error:
            reasons.append(f"{saved_model}: {name} can't answer: {' '.join(str(error).split())}")
    print(json.dumps({"reasons": reasons, "load_s": load_s, "latency_ms": passed}))


def _wrong(outputs: Mapping, rows: int) -> list[str]:
    """What is wrong with the answer to a request of so many clicks."""
    from mal_tf.serving.export import OUTPUT

    if OUTPUT not in outputs or outputs[OUTPUT].shape != (rows,):
        found = {name: tuple(values.shape) for name, values in outputs.items()}
        return [f"expected '{OUTPUT}' of shape ({rows},), found {found}"]
    cvr = outputs[OUTPUT].numpy()
    bad = cvr[~((cvr >= 0) & (cvr <= 1))]  # NaN is neither.
    return [f"{bad.size:,} of {rows:,} predictions are not in [0, 1], such as {bad[0]}"] if bad.size else []


if __name__ == "__main__":
    main(*sys.argv[1:])
