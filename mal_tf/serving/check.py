"""Check of an exported SavedModel in a fresh process: loading, validity and equality of predictions, and latency."""

import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from features.errors import MalTfError

#: Largest accepted difference of a served prediction from that of the in-memory model.
TOLERANCE = 1e-5

#: Timed calls of each signature.
CALLS = 50

#: Seconds after which the process is killed.
TIMEOUT_S = 1800.0

#: Inputs of a signature by name, and the CVR that it should return, float32 [batch]; None if that is unknown.
Case = tuple[Mapping[str, np.ndarray], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Checked:
    """Result of a check.

    Attributes:
        reasons: why the export can't serve; empty if it can.
        load_s: seconds that loading took; None if it did not load.
        latency_ms: `{"rows", "p50", "p99"}` by signature, of calls with its whole case within the process, without network
            and decoding of requests (`mal_tf.serving.latency`).
        largest_difference: largest difference of a prediction from the expected one; None if no values were expected.
    """

    reasons: list[str]
    load_s: float | None = None
    latency_ms: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    largest_difference: float | None = None


def check(version: str, cases: Mapping[str, Case], calls: int = CALLS, timeout_s: float = TIMEOUT_S) -> Checked:
    """Loads an export in a new Python process, compares its predictions and times them.

    Each signature is called with its case, with only the first click, and with no click. Then every warm-up request in the
    export is read back and run. Predictions must be in [0, 1] and within `TOLERANCE` of the expected values. A process that
    dies or hangs is reported as a reason; no error is raised.

    Args:
        version: directory of the SavedModel.
        cases: a case for each required signature. Warm-up requests must consist of the first clicks of a case that has
            expected values.
        calls: number of timed calls of each signature, after those that are compared.
        timeout_s: seconds after which the process is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "cases.npz")
        arrays: dict[str, Any] = {
            f"{name}/inputs/{key}": values for name, (inputs, _) in cases.items() for key, values in inputs.items()
        }
        arrays |= {f"{name}/expected": cvr for name, (_, cvr) in cases.items() if cvr is not None}
        np.savez(path, **arrays)
        command = [sys.executable, "-m", "mal_tf.serving.check", version, str(path), str(calls)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return Checked([f"a fresh process did not load and answer within {timeout_s:g} s"])
    if done.returncode:
        how = f"exit code {done.returncode}" if done.returncode > 0 else signal.Signals(-done.returncode).name
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Checked([f"a fresh process that tried it ended with {how}: {message}"])
    return Checked(**json.loads(done.stdout.strip().splitlines()[-1]))


def verify(version: str, cases: Mapping[str, Case]) -> Checked:
    """Checks an export as `check` does.

    Raises:
        MalTfError: the export can't serve, or its predictions differ from the expected ones.
    """
    checked = check(version, cases)
    if checked.reasons:
        reasons = "; ".join(checked.reasons)
        raise MalTfError(f"{version}: the exported model failed its check in a fresh process: {reasons}")
    return checked


def main(version: str, path: str, calls: str) -> None:
    """Checks an export in this process and prints a `Checked` as JSON."""
    from features.keras2 import tf
    from mal_tf.serving import warmup
    from mal_tf.serving.exports import load
    from mal_tf.serving.latency import latency

    data = np.load(path, allow_pickle=True)
    began = time.perf_counter()
    signatures: Any = load(version)
    load_s = time.perf_counter() - began
    reasons, timings, differences = [], {}, {}

    @contextlib.contextmanager
    def collect_reasons(name: str) -> Iterator[None]:
        try:
            yield
        except MalTfError as error:
            reasons.append(f"{name}: {error}")
        except (TypeError, ValueError, tf.errors.OpError) as error:
            reasons.append(f"{name} can't answer: {' '.join(str(error).split())}")

    for name in dict.fromkeys(key.split("/")[0] for key in data.files):
        if name not in signatures:
            reasons.append(f"expected a signature '{name}', found: {', '.join(signatures)}")
            continue
        prefix, expected = f"{name}/inputs/", data.get(f"{name}/expected")
        inputs = {key.removeprefix(prefix): tf.constant(data[key]) for key in data.files if key.startswith(prefix)}
        signature = signatures[name].structured_input_signature[1]
        batched = {key for key, tensor in signature.items() if tensor.shape[0] is None}
        whole = _rows(inputs)
        with collect_reasons(name):
            for rows in (whole, 1, 0):  # Requests with a single click and with none are valid too.
                first = {key: values[:rows] if key in batched else values for key, values in inputs.items()}
                answer = _valid(signatures[name](**first), rows)
                if expected is not None:
                    differences[f"{name}, batch {rows}"] = _difference(answer, expected)
            timings[name] = {"rows": whole, **latency(signatures[name], inputs, int(calls))}
    with collect_reasons("warm-up requests"):
        for name, inputs, outputs in warmup.replay(version, signatures):
            answer, expected = _valid(outputs, _rows(inputs)), data.get(f"{name}/expected")
            if expected is not None:
                differences[f"{name}, warm-up request"] = _difference(answer, expected)
    largest = max(differences.values(), default=None)
    reasons += [
        f"signature {name} differs from the in-memory model by {difference:g}, more than {TOLERANCE:g}"
        for name, difference in differences.items()
        if difference > TOLERANCE
    ]
    print(json.dumps(dataclasses.asdict(Checked(reasons, load_s, timings, largest))))


def _rows(inputs: Mapping) -> int:
    """Number of clicks of a request, in which the user's features may be given once for all clicks."""
    return max(len(values) for values in inputs.values())


def _valid(outputs: Mapping, rows: int) -> np.ndarray:
    """The CVRs of a request's clicks.

    Raises:
        MalTfError: the outputs are not valid CVRs.
    """
    from mal_tf.serving import OUTPUT

    if OUTPUT not in outputs or outputs[OUTPUT].shape != (rows,):
        shapes = {name: tuple(values.shape) for name, values in outputs.items()}
        raise MalTfError(f"expected '{OUTPUT}' of shape ({rows},), found {shapes}")
    cvr = outputs[OUTPUT].numpy()
    invalid = cvr[~((cvr >= 0) & (cvr <= 1))]  # NaN fails both comparisons.
    if invalid.size:
        raise MalTfError(f"{invalid.size:,} of {rows:,} predictions are not in [0, 1], such as {invalid[0]}")
    return cvr


def _difference(cvr: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of predictions from the expected ones, of which they may be only the first."""
    return float(np.max(np.abs(cvr - expected[: len(cvr)]), initial=0.0))


if __name__ == "__main__":
    main(*sys.argv[1:])
