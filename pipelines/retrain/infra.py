"""The infra check: an export must answer real requests in a fresh process, within a latency limit."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pydantic

from features.frozen import Frozen
from mal_tf.serving.check import Checked
from mal_tf.serving.check import check as check_export

#: Inputs by signature and by name.
Requests = Mapping[str, Mapping[str, np.ndarray]]


class InfraConfig(Frozen):
    """How an export is checked before it may serve.

    Attributes:
        rows: number of clicks in a request.
        calls: number of timed calls of each signature.
        latency_ms: limit on the 99th percentile of each signature's latency in milliseconds; null for no limit.
        timeout_s: seconds after which the process is killed.
    """

    rows: int = pydantic.Field(100, ge=1)
    calls: int = pydantic.Field(200, ge=1)
    latency_ms: float | None = pydantic.Field(None, gt=0)
    timeout_s: float = pydantic.Field(300.0, gt=0)


def check(saved_model: str, requests: Requests, config: InfraConfig) -> Checked:
    """Check an export in a fresh process. Failures and exceeded limits are returned as reasons, not raised.

    Args:
        saved_model: directory of the SavedModel.
        requests: real requests to each signature that must exist (`mal_tf.serving.requests`).
        config: the limits; its `rows` is the number of clicks in `requests`.
    """
    cases = {name: (inputs, None) for name, inputs in requests.items()}
    checked = check_export(saved_model, cases, config.calls, config.timeout_s)
    slow = [
        f"{name} takes {latency['p99']:,.1f} ms (p99 of {config.calls:,} calls); the limit is {config.latency_ms:g} ms"
        for name, latency in checked.latency_ms.items()
        if config.latency_ms is not None and latency["p99"] > config.latency_ms
    ]
    reasons = [f"{saved_model}: {reason}" for reason in (*checked.reasons, *slow)]
    return dataclasses.replace(checked, reasons=reasons)
