"""How long an export takes to answer."""

import time
from collections.abc import Callable, Mapping

import numpy as np


def latency(signature: Callable[..., Mapping], inputs: Mapping, calls: int) -> dict[str, float]:
    """Times calls that end with the answer in this process's hands: no network, no decoding of requests.

    Args:
        signature: of a SavedModel.
        inputs: tensors by name.
        calls: how many, one after the other.

    Returns:
        `{"p50", "p99"}` in milliseconds.
    """
    passed = np.empty(calls)
    for call in range(calls):
        began = time.perf_counter()
        for values in signature(**inputs).values():
            values.numpy()
        passed[call] = time.perf_counter() - began
    p50, p99 = np.percentile(passed * 1e3, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}
