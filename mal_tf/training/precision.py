"""Context manager that sets the precision of the Keras layers created within it."""

import contextlib
from collections.abc import Iterator

from features.keras2 import keras


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Makes layers that are created within compute in `name`: `float32`, or `bfloat16` or `float16` with float32 weights."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
