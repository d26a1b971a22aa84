"""Benchmarks of speed and memory against alternatives, studies of model quality, and the comparison of two commits."""

import warnings

warnings.filterwarnings("ignore", category=FutureWarning)  # Google's client libraries warn on import.
