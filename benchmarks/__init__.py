"""Benchmarks: generated logs, our jobs, and what they are compared with. Not part of the installed package."""
