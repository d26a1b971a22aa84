"""Latency of the signatures of an exported model."""

import time
from collections.abc import Callable, Mapping

import numpy as np


def latency(signature: Callable[..., Mapping], inputs: Mapping, calls: int) -> dict[str, float]:
    """Times calls within this process, until their outputs are available, without network and decoding of requests.

    Args:
        signature: signature of a SavedModel.
        inputs: tensors by name.
        calls: number of calls, made one after the other.

    Returns:
        `{"p50", "p99"}` in milliseconds.
    """
    seconds = np.empty(calls)
    for call in range(calls):
        began = time.perf_counter()
        for values in signature(**inputs).values():
            values.numpy()
        seconds[call] = time.perf_counter() - began
    p50, p99 = np.percentile(seconds * 1e3, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}
