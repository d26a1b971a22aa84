"""Measures how often the bootstrap reports a difference in GAUC that does not exist, by the number of users with both classes.

The results justify `mal_tf.evaluation.bootstrap.MIN_USERS`.
"""

import pathlib
from typing import Annotated

import numpy as np
import typer

from benchmarks import tables
from benchmarks.tables import Table
from mal_tf.evaluation.judgement import p_value

_USERS = (1, 2, 3, 5, 10, 20, 30, 50, 100)

#: Standard deviation of the logarithm of users' numbers of clicks, by description.
_CLICKS = {"all of as many clicks": 0.0, "clicks log-normal (σ = 0.8)": 0.8}


def false_positive_rate(users: int, spread: float, trials: int, samples: int, seed: int) -> float:
    """Return the share of trials with p below .05 for two models whose AUCs differ by a normal number of mean 0 per user.

    Args:
        users: number of users with both classes.
        spread: standard deviation of the logarithm of their numbers of clicks, which are their weights.
        trials: number of trials.
        samples: number of resamples of the users in each trial.
        seed: seed of all random numbers.
    """
    generator, below = np.random.default_rng([seed, users]), 0
    for _ in range(trials):
        clicks, gain = generator.lognormal(0, spread, users), generator.normal(0, 0.2, users)
        times = generator.multinomial(users, np.full(users, 1 / users), samples)
        below += p_value(times @ (clicks * gain) / (times @ clicks)) < 0.05
    return below / trials


def main(
    trials: Annotated[int, typer.Option(help="Number of pairs of models that do not differ.")] = 4000,
    samples: Annotated[int, typer.Option(help="Number of resamples of each pair.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 17,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Count how often p is below .05 although models do not differ."""
    shown, machine = tables.console(), tables.machine()
    with shown.status("resampling"):
        rows = [
            [name, *(f"{false_positive_rate(users, spread, trials, samples, seed):.1%}" for users in _USERS)]
            for name, spread in _CLICKS.items()
        ]
    note = f"{trials:,} pairs of models that do not differ, {samples:,} resamples each: how often p is below .05."
    table = Table("GAUC by few users", ["users with both classes", *map(str, _USERS)], rows, note)
    tables.report(shown, machine, [table], markdown)


if __name__ == "__main__":
    tables.run(main)
