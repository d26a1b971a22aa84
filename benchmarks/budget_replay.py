"""Evaluates attribution mechanisms on held-out users of Criteo's paths: `python -m benchmarks.budget_replay`.

Prints two tables over folds of users, each held out once from mechanisms fitted on the others:

Prediction. A mechanism that is a model predicts the probability that a path converts; see `probabilities`. Its AUC and
log-loss are compared with those of the constant rate of the training users.

Budget replay (Ren et al., "Learning multi-touch conversion attribution with dual-attention mechanisms for online
advertising", CIKM '18): credits on the training users give each channel a return, its credit over its cost. A budget, a
share of what the held-out paths cost, is split over the channels in proportion to it. The held-out touches are replayed
in time order, each channel buys until its budget is spent, and what the bought touches converted is compared. Unlike
there, a channel gets no more than it can spend and the others take the rest, so that all mechanisms spend the same; and
a path goes on being bought after one of its touches was not.

No converting path of this log has two campaigns. With the campaign as channel, all mechanisms whose credits add up to 1
therefore give the same credit per channel, and the replay only tells attribution from spending as before. `cat8` changes
within every second path, so the channel campaign × cat8 tells mechanisms apart.

The log also builds paths by their outcome: in a path without conversion no two touches are three days or more apart, in
one with a conversion they often are, which gives the outcome away to any mechanism that uses time. Unless `--as-given`,
converting paths are cut in the same way: only the touches after the last such gap are kept, if they are three or more, as
in every path of the log.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer

from benchmarks import tables
from benchmarks.criteo_paths import Paths, fold, read
from benchmarks.real_logs import MECHANISMS
from benchmarks.tables import Table
from mal_tf.attribution.attention import Attention
from mal_tf.attribution.attention_sample import FIRST_KNOWN, at_end, coded
from mal_tf.attribution.by_type import ByType, DistinctTypes
from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.markov import CONVERSION, NULL, Markov
from mal_tf.attribution.mechanism import Mechanism
from mal_tf.evaluation import metrics

#: Budgets, as shares of the cost of the held-out paths.
SHARES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)

#: Names of the baselines.
CONSTANT, AS_BEFORE = "constant rate", "spending as before"


def fitted(name: str, training: Paths) -> tuple[Mechanism, dict]:
    """Return a mechanism of `MECHANISMS`, fitted if it is data-driven, and its fit."""
    settings = next(m for m in MECHANISMS if m["name"] == name)
    mechanism, fit = create(settings["type"], dict(settings.get("parameters", {}))), {}
    if mechanism.data_driven:
        parts = (training.select(training.converted).journeys(), training.select(~training.converted).journeys())
        fit = mechanism.fit(mechanism.statistics(*parts))
        mechanism.load(fit)
    return mechanism, fit


def probabilities(mechanism: Mechanism, fit: dict, paths: Paths, training: Paths) -> np.ndarray | None:
    """Return the probability that each path converts, float64 [P]; None if the mechanism is not a model.

    - shao_li, shapley: Σ of the contributions of the path's distinct types, within 0 … 1. For shapley that is the rate of
      conversion of the path's set of types; for shao_li it is that of one or two types, of n > 2 the mean rate of their
      pairs times n / 2.
    - markov: that the chain went to conversion, given that it ended after the path's last state.
    - attention: σ(logit + b) at the last touch; b makes the mean over the training paths right, as the network gives
      rates up to a factor.
    """
    journeys = paths.journeys()
    if isinstance(mechanism, Attention):
        bias = _bias(_logits(mechanism, fit, training.journeys()), training.converted.mean())
        return _sigmoid(_logits(mechanism, fit, journeys) + bias)
    if isinstance(mechanism, Markov):
        return _ends(fit, journeys, training.converted.mean())
    if isinstance(mechanism, ByType):
        types = DistinctTypes.from_journeys(journeys)
        return np.clip(np.bincount(types.journey, mechanism.contributions(types), len(journeys)), 0.0, 1.0)
    return None


def _ends(fit: dict, journeys: Journeys, unknown: float) -> np.ndarray:
    """Return the share of conversions among the chain's ends after each journey's last state."""
    kept = np.append(True, np.diff(journeys.touchpoint) != 0)
    kept[journeys.offsets[:-1]] = True
    types = journeys.touchpoint[kept]
    stop = np.cumsum(np.add.reduceat(kept, journeys.offsets[:-1]))
    start = np.append(0, stop[:-1])
    back = np.arange(fit["order"], 0, -1)
    window = np.where(stop[:, None] - back >= start[:, None], types[stop[:, None] - back], -1)
    states, state = np.unique(window, axis=0, return_inverse=True)
    ends = {(tuple(row["from"]), row["to"]): row["count"] for row in fit["transitions"]}
    names = [tuple(journeys.touchpoints[row[row >= 0]]) for row in states]
    plus, minus = (np.array([ends.get((name, end), 0) for name in names]) for end in (CONVERSION, NULL))
    return np.where(plus + minus > 0, plus / np.maximum(plus + minus, 1), unknown)[state.ravel()]


def _logits(mechanism: Attention, fit: dict, journeys: Journeys) -> np.ndarray:
    from mal_tf.attribution.attention_network import Network

    network = Network(
        FIRST_KNOWN + len(fit["types"]), fit["confounders"], fit["confounder_buckets"], fit["units"], "float64"
    )
    network.model.set_weights([np.array(weight) for weight in fit["weights"]])
    known, counted = coded(journeys, fit["types"]), np.minimum(journeys.lengths, fit["max_touches"])
    logit = np.zeros(len(journeys))
    for length in np.unique(counted):
        chosen = np.flatnonzero(counted == length)
        rows = at_end(known.take(chosen), length, fit["horizon"], fit["confounder_buckets"])
        logit[chosen] = network.model.predict([rows.types, rows.age, rows.user], batch_size=8192, verbose=0)[:, 0]
    return logit


def _bias(logit: np.ndarray, rate: float) -> float:
    """Return the constant to add to logits for a mean probability of `rate`, by bisection."""
    low, high = -100.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(logit + middle).mean() < rate else (low, middle)
    return low


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def returns(mechanism: Mechanism, training: Paths) -> np.ndarray:
    """Return credit over cost of each channel on the training paths, float64 [K]; 0 for channels without cost."""
    converting = training.select(training.converted)
    size = training.channels.size
    credit = np.bincount(converting.channel, mechanism.credit(converting.journeys()), size)
    cost = np.bincount(training.channel, training.cost, size)
    return np.divide(credit, cost, out=np.zeros(size), where=cost > 0)


def split(budget: float, weight: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Split a budget in proportion to weights. The excess over a channel's limit goes to the others, again in proportion.

    Args:
        budget: the total budget.
        weight: float64 [K], ≥ 0; channels of weight 0 get nothing.
        limit: float64 [K], the most that each channel can spend.

    Returns:
        float64 [K]. Its sum is less than the budget if all channels with a weight are at their limits.
    """
    given = np.zeros(weight.size)
    for _ in weight:  # Each round fills a channel or spends the rest.
        share = np.where(given < limit, weight, 0.0)
        if not share.any():
            break
        given = np.minimum(given + (budget - given.sum()) * share / share.sum(), limit)
    return given


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a replay.

    Attributes:
        spent: cost of the touches that were bought.
        whole: number of conversions with all touches of the path bought.
        last: number of conversions with the last touch bought.
    """

    spent: float
    whole: int
    last: int

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.spent + other.spent, self.whole + other.whole, self.last + other.last)


def replay(paths: Paths, budget: np.ndarray) -> Outcome:
    """Buy touches in time order, in each channel until the first touch that its budget, float64 [K], does not cover."""
    order = np.lexsort((paths.time, paths.channel))
    channel, total = paths.channel[order], np.cumsum(paths.cost[order])
    per_channel = np.bincount(channel, paths.cost[order], budget.size)
    spent = total - (np.cumsum(per_channel) - per_channel)[channel]
    bought = np.zeros(order.size, bool)
    bought[order] = spent <= budget[channel] + 1e-9 * total[-1:].sum()
    whole = np.logical_and.reduceat(bought, paths.offsets[:-1]) & paths.converted
    last = bought[paths.offsets[1:] - 1] & paths.converted
    return Outcome(float(paths.cost[bought].sum()), int(whole.sum()), int(last.sum()))


@dataclasses.dataclass
class Results:
    """Results of all mechanisms.

    Attributes:
        predictions: (AUC, log-loss) of each fold, by model.
        outcomes: outcome over all folds, by way to split the budget and its share.
    """

    predictions: dict[str, list[tuple[float, float]]]
    outcomes: dict[tuple[str, float], Outcome]


def evaluate(paths: Paths, names: Sequence[str], folds: int) -> Results:
    """Evaluate mechanisms on each fold of users, fitted on the others.

    Args:
        paths: all paths.
        names: names of `MECHANISMS`.
        folds: number of folds.
    """
    results, part = Results({}, {}), fold(paths, folds)
    for held_out in range(folds):
        training, rest = paths.select(part != held_out), paths.select(part == held_out)
        label = rest.converted.astype(np.float64)
        predictions = {CONSTANT: np.full(label.size, training.converted.mean())}
        spending, limit = (np.bincount(p.channel, p.cost, p.channels.size) for p in (training, rest))
        weights = {AS_BEFORE: spending}
        for name in names:
            mechanism, fit = fitted(name, training)
            weights[name] = returns(mechanism, training)
            predictions[name] = probabilities(mechanism, fit, rest, training)
        for name, prediction in predictions.items():
            if prediction is not None:
                scores = (metrics.auc(label, prediction), metrics.log_loss(label, prediction))
                results.predictions.setdefault(name, []).append(scores)
        for name, weight in weights.items():
            for share in SHARES:
                outcome = replay(rest, split(share * limit.sum(), weight, limit))
                results.outcomes[name, share] = results.outcomes.get((name, share), Outcome(0.0, 0, 0)) + outcome
    return results


def prediction_table(results: Results) -> Table:
    """Build the table of predictions, a row per model: mean and standard deviation of the AUC, mean log-loss."""
    rows = []
    for name, measured in results.predictions.items():
        auc, loss = np.array(measured).T
        rows.append([name, f"{auc.mean():.4f}", f"{auc.std():.4f}", f"{loss.mean():.4f}"])
    note = "Means over folds; ± is the standard deviation between them."
    return Table("Prediction of held-out users' conversions", ["model", "AUC", "±", "log-loss"], rows, note)


def replay_table(results: Results) -> Table:
    """Build the table of replays, a row per way to split the budget: conversions and their cost at each share."""
    rows = []
    for way in dict.fromkeys(name for name, _ in results.outcomes):
        outcomes = [results.outcomes[way, share] for share in SHARES]
        cells = ([f"{o.whole:,}", f"{o.last:,}", f"{1000 * o.spent / max(o.whole, 1):.2f}"] for o in outcomes)
        rows.append([way, *(cell for three in cells for cell in three)])
    columns = [name for share in SHARES for name in (f"1/{1 / share:.0f}: all", "last", "cost")]
    note = (
        "At each share of the held-out spending: conversions all touches of whose path were bought, those whose last touch "
        "was, and 1000 × cost per conversion of the first kind."
    )
    return Table("Budget replay on held-out users", ["split by return of", *columns], rows, note)


def main(
    file: Annotated[str, typer.Option(help="with_features, or nofeatures, which has no costs and so no replay.")] = (
        "with_features"
    ),
    channel: Annotated[list[str], typer.Option(help="Columns that make the channel.")] = ["campaign", "cat8"],  # noqa: B006
    cut: Annotated[
        bool, typer.Option("--cut/--as-given", help="Whether to cut converting paths as the others are.")
    ] = True,
    folds: Annotated[int, typer.Option(min=2, help="Folds of users.")] = 5,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
) -> None:
    """Evaluate all mechanisms on held-out users."""
    console = tables.console()
    paths = read(file, channel, cut)
    title = (
        f"Criteo, {file}, channel {' × '.join(channel)}, {'paths built alike' if cut else 'as given'}: "
        f"{paths.user.size:,} paths, {int(paths.converted.sum()):,} converting; {folds} folds of users."
    )
    with console.status(title):
        results = evaluate(paths, [m["name"] for m in MECHANISMS], folds)
    shown_tables = [prediction_table(results), *([replay_table(results)] if paths.cost.any() else [])]
    tables.report(console, title, shown_tables, markdown)


if __name__ == "__main__":
    tables.run(main)
