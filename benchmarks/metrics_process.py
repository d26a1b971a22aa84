"""Metrics timed in a process of their own: `python -m benchmarks.metrics_process WHAT ROWS USERS ROUNDS` prints JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from mal_tf.evaluation import metrics


def clicks(rows: int, users: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clicks of users with about as many each: user code int64, label and prediction float32, all [rows].

    Every user has a click; labels are 0 or 1, drawn by the predictions, about 5% of them 1.
    """
    generator = np.random.default_rng(seed)
    user = np.concatenate([np.arange(users), generator.integers(users, size=rows - users)])
    generator.shuffle(user)
    prediction = generator.beta(1, 19, size=rows).astype(np.float32)
    label = (generator.random(rows, np.float32) < prediction).astype(np.float32)
    return user, label, prediction


def loop(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> float:
    """GAUC as it is usually computed: a call of scikit-learn for each user of pandas' groups, weighted by clicks."""
    total = weight = 0.0
    for _, mine in pd.DataFrame({"user": user, "label": label, "prediction": prediction}).groupby("user"):
        if mine["label"].nunique() == 2:
            total += len(mine) * roc_auc_score(mine["label"], mine["prediction"])
            weight += len(mine)
    return total / weight


def gauc(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> float:
    """GAUC by ours."""
    return metrics.gauc(metrics.per_user(user, label, prediction))


def timed(rounds: int, work: Callable, *arguments) -> tuple[float, object]:
    """Median of the seconds that some work takes, and what it returns."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = work(*arguments)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), found


def all_of(rows: int, users: int, rounds: int) -> dict[str, float]:
    """Seconds of all metrics together, with predictions of float32 and of float64 that no float32 is; then of each alone."""
    user, label, prediction = clicks(rows, users)
    found = {"all": timed(rounds, metrics.all_metrics, user, label, prediction)[0]}
    found["gauc"] = timed(rounds, gauc, user, label, prediction)[0]
    for name in ("auc", "log_loss", "pcoc", "calibration_error"):
        found[name] = timed(rounds, getattr(metrics, name), label, prediction)[0]
    double = prediction.astype(np.float64)
    double *= 1 + 1e-12
    return found | {"all, float64": timed(rounds, metrics.all_metrics, user, label, double)[0]}


def against_loop(rows: int, users: int, rounds: int) -> dict[str, float]:
    """Seconds of GAUC by ours and by the loop, of all our metrics, and by how much the two GAUCs differ."""
    made = clicks(rows, users)
    ours, value = timed(rounds, gauc, *made)
    everything, _ = timed(rounds, metrics.all_metrics, *made)
    theirs, expected = timed(1, loop, *made)
    return {"ours": ours, "all": everything, "loop": theirs, "difference": abs(value - expected)}


if __name__ == "__main__":
    what, *sizes = sys.argv[1:]
    print(json.dumps({"all": all_of, "loop": against_loop}[what](*map(int, sizes))))
