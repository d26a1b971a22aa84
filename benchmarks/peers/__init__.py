"""Other tools beside mal-tf: scripts that run in environments of their own, with `requirements-*.txt` beside them."""
