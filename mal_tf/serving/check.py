"""A fresh process that loads an export, runs both signatures and compares: `python -m mal_tf.serving.check`."""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from features.errors import MalTfError

#: How far a served prediction may be from the in-memory model's.
TOLERANCE = 1e-5


def in_fresh_process(version: str, examples: list[bytes], raw: dict[str, np.ndarray], expected: np.ndarray) -> float:
    """Loads the export in a new Python process and compares its predictions.

    Args:
        version: directory of the SavedModel.
        examples: serialized tf.Examples.
        raw: the same clicks as `predict_raw` takes them.
        expected: float32 [batch], the in-memory model's CVR.

    Returns:
        Largest absolute difference found.

    Raises:
        MalTfError: it can't be loaded, a signature fails, or a difference is above `TOLERANCE`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "case.npz"
        inputs = {f"raw/{name}": values for name, values in raw.items()}
        np.savez(path, examples=np.array(examples, object), expected=expected, **inputs)
        command = [sys.executable, "-m", "mal_tf.serving.check", version, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise MalTfError(f"{version}: the exported model failed its check in a fresh process: {reason[0]}")
    return float(done.stdout.strip().splitlines()[-1])


def main(version: str, case: str) -> None:
    """Compares and prints the largest difference; exits with a message if it is too large."""
    from features.keras2 import tf
    from mal_tf.serving.export import OUTPUT

    data = np.load(case, allow_pickle=True)
    model = tf.saved_model.load(version)
    examples, expected = data["examples"].tolist(), data["expected"]
    raw = {name.removeprefix("raw/"): tf.constant(data[name]) for name in data.files if name.startswith("raw/")}
    both = {
        "serving_default": model.signatures["serving_default"](examples=tf.constant(examples))[OUTPUT],
        "predict_raw": model.signatures["predict_raw"](**raw)[OUTPUT],
    }
    for rows in (0, 1):  # Empty and single-click requests are defined too.
        part = {name: values[:rows] for name, values in raw.items()}
        both[f"predict_raw, batch {rows}"] = tf.concat(
            [model.signatures["predict_raw"](**part)[OUTPUT], expected[rows:]], 0
        )
    worst = {name: float(np.max(np.abs(found.numpy() - expected), initial=0.0)) for name, found in both.items()}
    name, difference = max(worst.items(), key=lambda item: item[1])
    if not difference <= TOLERANCE:
        sys.exit(f"signature {name} differs from the in-memory model by {difference:g}, more than {TOLERANCE:g}")
    print(difference)


if __name__ == "__main__":
    main(*sys.argv[1:])
