"""Benchmarks: what the product costs, against named alternatives, and what its models are worth."""

import warnings

warnings.filterwarnings("ignore", category=FutureWarning)  # Google's clients warn on import.
