"""Infra check: an export must answer real requests in a fresh process, within a latency limit."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pydantic

from features.frozen import Frozen
from mal_tf.serving.check import Checked
from mal_tf.serving.check import check as check_export

#: Inputs by signature and name.
Requests = Mapping[str, Mapping[str, np.ndarray]]


class InfraConfig(Frozen):
    """How an export is checked before it may serve.

    Attributes:
        rows: clicks of a request.
        calls: timed calls of each signature.
        latency_ms: limit on the 99th percentile of each signature; None for no limit.
        timeout_s: seconds after which the process is killed.
    """

    rows: int = pydantic.Field(100, ge=1)
    calls: int = pydantic.Field(200, ge=1)
    latency_ms: float | None = pydantic.Field(None, gt=0)
    timeout_s: float = pydantic.Field(300.0, gt=0)


def check(saved_model: str, requests: Requests, config: InfraConfig) -> Checked:
    """Checks an export in a fresh process; what fails, or is too slow, is a reason. Nothing is raised.

    Args:
        saved_model: directory of the SavedModel.
        requests: real ones, to each signature that has to be there (`mal_tf.serving.requests`).
        config: limits; `rows` are those that `requests` were made of.
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
