"""How often the bootstrap finds a difference in GAUC where there is none, by how many users have both classes.

Behind `mal_tf.evaluation.bootstrap.MIN_USERS`.
"""

import pathlib
from typing import Annotated

import numpy as np
import typer

from benchmarks import tables
from benchmarks.tables import Table
from mal_tf.evaluation.judgement import p_value

_USERS = (1, 2, 3, 5, 10, 20, 30, 50, 100)

#: Spread of the logarithm of users' clicks, and what it is called.
_CLICKS = {"all of as many clicks": 0.0, "clicks log-normal (σ = 0.8)": 0.8}


def found(users: int, spread: float, trials: int, samples: int, seed: int) -> float:
    """Share of trials whose p is below .05, of two models that do not differ: each user's AUC differs by a normal number.

    Args:
        users: with both classes.
        spread: standard deviation of the logarithm of their clicks, which weigh them.
        trials: how many.
        samples: resamples of the users in each.
        seed: of all.
    """
    generator, below = np.random.default_rng([seed, users]), 0
    for _ in range(trials):
        clicks, gain = generator.lognormal(0, spread, users), generator.normal(0, 0.2, users)
        times = generator.multinomial(users, np.full(users, 1 / users), samples)
        below += p_value(times @ (clicks * gain) / (times @ clicks)) < 0.05
    return below / trials


def main(
    trials: Annotated[int, typer.Option(help="Pairs of models that do not differ.")] = 4000,
    samples: Annotated[int, typer.Option(help="Resamples of each.")] = 400,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 17,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Count how often p is below .05 though models do not differ."""
    shown, told = tables.console(), tables.machine()
    with shown.status("resampling"):
        rows = [
            [name, *(f"{found(users, spread, trials, samples, seed):.1%}" for users in _USERS)]
            for name, spread in _CLICKS.items()
        ]
    note = f"{trials:,} pairs of models that do not differ, {samples:,} resamples each: how often p is below .05."
    table = Table("GAUC by few users", ["users with both classes", *map(str, _USERS)], rows, note)
    tables.report(shown, told, [table], markdown)


if __name__ == "__main__":
    tables.run(main)
