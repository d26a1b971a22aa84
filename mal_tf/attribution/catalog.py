"""All mechanisms that come with mal-tf; importing it registers them."""

from mal_tf.attribution import rules, shao_li  # noqa: F401
from mal_tf.attribution.mechanism import create

__all__ = ["create"]
