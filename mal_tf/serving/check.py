"""A fresh process that loads an export, runs it and compares: `python -m mal_tf.serving.check`."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import numpy as np

from features.errors import MalTfError

#: How far a served prediction may be from the in-memory model's.
TOLERANCE = 1e-5

#: Timed calls of each signature.
_CALLS = 50

#: Inputs of a signature by name, and the CVR that it should give, float32 [batch].
Case = tuple[Mapping[str, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was found of an export that is as it should be.

    Attributes:
        largest_difference: of a prediction from the in-memory model's.
        load_s: seconds that loading took.
        latency_ms: by signature, `{"rows", "p50", "p99"}` of calls with its whole case (`mal_tf.serving.latency`).
    """

    largest_difference: float
    load_s: float
    latency_ms: dict[str, dict[str, float]]


def in_fresh_process(version: str, cases: Mapping[str, Case]) -> Checked:
    """Loads the export in a new Python process, compares its predictions and times them.

    Each signature is called with its case, with the first click of it and with none; then every warm-up request is read
    back from the file and run.

    Args:
        version: directory of the SavedModel.
        cases: by signature. Warm-up requests hold the first clicks of them.

    Raises:
        MalTfError: it can't be loaded, a signature or a warm-up request fails, or a difference is above `TOLERANCE`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "cases.npz"
        arrays = {f"{signature}/expected": expected for signature, (_, expected) in cases.items()}
        for signature, (inputs, _) in cases.items():
            arrays |= {f"{signature}/inputs/{name}": values for name, values in inputs.items()}
        np.savez(path, **arrays)
        command = [sys.executable, "-m", "mal_tf.serving.check", version, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise MalTfError(f"{version}: the exported model failed its check in a fresh process: {reason[0]}")
    return Checked(**json.loads(done.stdout.strip().splitlines()[-1]))


def main(version: str, path: str) -> None:
    """Compares, times and prints a `Checked` as JSON; exits with a message if a difference is too large."""
    from features.keras2 import tf
    from mal_tf.serving import warmup
    from mal_tf.serving.export import OUTPUT
    from mal_tf.serving.latency import latency

    data = np.load(path, allow_pickle=True)
    began = time.perf_counter()
    signatures, found, passed = tf.saved_model.load(version).signatures, {}, {}
    load_s = time.perf_counter() - began
    for name in {key.split("/")[0] for key in data.files}:
        inputs = {key.rpartition("/")[2]: data[key] for key in data.files if key.startswith(f"{name}/inputs/")}
        expected = data[f"{name}/expected"]
        for rows in (len(expected), 1, 0):  # Requests with one click and with none are defined too.
            batched = {key for key, of in signatures[name].structured_input_signature[1].items() if of.shape[0] is None}
            cut = {key: tf.constant(values[:rows] if key in batched else values) for key, values in inputs.items()}
            found[f"{name}, batch {rows}"] = signatures[name](**cut)[OUTPUT], expected[:rows]
        whole = {key: tf.constant(values) for key, values in inputs.items()}
        passed[name] = {"rows": len(expected), **latency(signatures[name], whole, _CALLS)}
    for name, _, outputs in warmup.replay(version, signatures):
        expected = data[f"{name}/expected"]
        found[f"{name}, warm-up request"] = outputs[OUTPUT], expected[: len(outputs[OUTPUT])]
    worst = {
        name: float(np.max(np.abs(served.numpy() - expected), initial=0.0))
        for name, (served, expected) in found.items()
    }
    name, difference = max(worst.items(), key=lambda item: item[1])
    if not difference <= TOLERANCE:
        sys.exit(f"signature {name} differs from the in-memory model by {difference:g}, more than {TOLERANCE:g}")
    print(json.dumps(dataclasses.asdict(Checked(difference, load_s, passed))))


if __name__ == "__main__":
    main(*sys.argv[1:])
