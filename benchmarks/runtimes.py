"""Converts models to other runtimes, such as TFLite and ONNX Runtime, and calls them, if they are installed."""

import functools
import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping

import numpy as np

from features.errors import MalTfError

#: Takes inputs by name and returns a function that runs the model on them.
Prepare = Callable[[Mapping[str, np.ndarray]], Callable[[], object]]

#: Packages that each runtime needs in addition to mal-tf's.
NEEDS = {"TensorFlow": (), "TFLite": (), "ONNX Runtime": ("tf2onnx", "onnxruntime"), "OpenVINO": ("openvino",)}


def missing(runtime: str) -> list[str]:
    """Return the packages of a runtime that are not installed."""
    return [package for package in NEEDS[runtime] if importlib.util.find_spec(package) is None]


def convert(runtime: str, saved_model: str, folder: pathlib.Path) -> str:
    """Convert a SavedModel that `mal_tf.serving.rows` wrote.

    Returns:
        Path that the runtime loads.

    Raises:
        MalTfError: the converter failed.
    """
    path = folder / f"model.{runtime.split()[0].lower()}"
    if runtime == "TensorFlow":
        return saved_model
    if runtime == "TFLite":
        import tensorflow as tf

        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(saved_model).convert())
    elif runtime == "ONNX Runtime":
        command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", saved_model, "--output", str(path)]
        result = subprocess.run([*command, "--opset", "17"], capture_output=True, text=True, check=False)
        if result.returncode:
            raise MalTfError(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    else:
        import openvino

        path = path.with_suffix(".xml")
        try:
            openvino.save_model(openvino.convert_model(saved_model), path, compress_to_fp16=False)
        except openvino.frontend.OpConversionFailure as error:
            raise MalTfError(f"OpenVINO can't convert {saved_model}: {error}") from error
    return str(path)


def prepare(runtime: str, path: str, threads: int) -> dict[str, Prepare]:
    """Load a model.

    Args:
        runtime: one of `NEEDS`.
        path: path returned by `convert`; for TensorFlow, any SavedModel.
        threads: number of threads within an operation. TensorFlow's are set for the whole process before.

    Returns:
        A `Prepare` function by signature; runtimes other than TensorFlow only have `serving_default`. All compute in float32,
        which OpenVINO has to be set to if the processor has bfloat16.
    """
    if runtime == "TensorFlow":
        import tensorflow as tf

        signatures = tf.saved_model.load(path).signatures
        return {name: functools.partial(_in_tensorflow, signatures[name]) for name in signatures}
    if runtime == "TFLite":
        import tensorflow as tf

        def run(
            inputs: Mapping[str, np.ndarray],
        ) -> Callable[[], object]:  # An interpreter supports one caller at a time.
            runner = tf.lite.Interpreter(path, num_threads=threads).get_signature_runner("serving_default")
            return lambda: runner(**inputs)["cvr"]

    elif runtime == "ONNX Runtime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])

        def run(inputs: Mapping[str, np.ndarray]) -> Callable[[], object]:
            return lambda: session.run(["cvr"], dict(inputs))[0]

    else:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        model = openvino.Core().compile_model(path, "CPU", settings)

        def run(inputs: Mapping[str, np.ndarray]) -> Callable[[], object]:
            request = model.create_infer_request()
            return lambda: request.infer(dict(inputs))["cvr"].copy()

    return {"serving_default": run}


def _in_tensorflow(signature, inputs: Mapping[str, np.ndarray]) -> Callable[[], object]:
    import tensorflow as tf

    tensors = {name: tf.constant(values) for name, values in inputs.items()}

    def call() -> list[np.ndarray]:
        outputs = [output.numpy() for output in signature(**tensors).values()]
        return outputs[0] if len(outputs) == 1 else outputs

    return call
