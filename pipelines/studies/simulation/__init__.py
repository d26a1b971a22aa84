"""Simulation of an ad market, which generates click and conversion logs with known causes; see docs/simulation.md."""
