"""Mixed precision for the layers that are made in a block."""

import contextlib
from collections.abc import Iterator

from features.keras2 import keras


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Layers made inside compute in `name`: `float32`, or `bfloat16` or `float16` with weights in float32."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
