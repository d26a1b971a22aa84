"""A generative ad market: click and conversion logs whose truth is known. See docs/simulation.md."""
