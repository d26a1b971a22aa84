"""Times metrics and prints JSON: `python -m benchmarks.metrics_process all|loop ROWS USERS ROUNDS`."""

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
    """Generate clicks of users with about the same number each: user code int64, label and prediction float32, all [rows].

    Every user has a click. Labels are 0 or 1, drawn with the predicted probabilities; about 5% are 1.
    """
    generator = np.random.default_rng(seed)
    user = np.concatenate([np.arange(users), generator.integers(users, size=rows - users)])
    generator.shuffle(user)
    prediction = generator.beta(1, 19, size=rows).astype(np.float32)
    label = (generator.random(rows, np.float32) < prediction).astype(np.float32)
    return user, label, prediction


def loop(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> float:
    """Compute GAUC in the usual way, with a call of scikit-learn for each of pandas' groups, weighted by clicks."""
    total = weight = 0.0
    for _, clicks in pd.DataFrame({"user": user, "label": label, "prediction": prediction}).groupby("user"):
        if clicks["label"].nunique() == 2:
            total += len(clicks) * roc_auc_score(clicks["label"], clicks["prediction"])
            weight += len(clicks)
    return total / weight


def gauc(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> float:
    """Compute GAUC with `mal_tf.evaluation.metrics`."""
    return metrics.gauc(metrics.per_user(user, label, prediction))


def timed(rounds: int, work: Callable, *arguments) -> tuple[float, object]:
    """Return the median seconds of a function over several rounds, and its result."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        result = work(*arguments)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), result


def all_metrics(rows: int, users: int, rounds: int) -> dict[str, float]:
    """Time all metrics together, for predictions of float32 and of float64 that have no float32 equal, and each metric alone."""
    user, label, prediction = clicks(rows, users)
    seconds = {"all": timed(rounds, metrics.all_metrics, user, label, prediction)[0]}
    seconds["gauc"] = timed(rounds, gauc, user, label, prediction)[0]
    for name in ("auc", "log_loss", "pcoc", "calibration_error"):
        seconds[name] = timed(rounds, getattr(metrics, name), label, prediction)[0]
    double = prediction.astype(np.float64)
    double *= 1 + 1e-12
    return seconds | {"all, float64": timed(rounds, metrics.all_metrics, user, label, double)[0]}


def against_loop(rows: int, users: int, rounds: int) -> dict[str, float]:
    """Time our GAUC, the loop and all our metrics; return also the difference of the two GAUCs."""
    arrays = clicks(rows, users)
    ours, value = timed(rounds, gauc, *arrays)
    all_seconds, _ = timed(rounds, metrics.all_metrics, *arrays)
    loop_seconds, expected = timed(1, loop, *arrays)
    return {"ours": ours, "all": all_seconds, "loop": loop_seconds, "difference": abs(value - expected)}


if __name__ == "__main__":
    what, *sizes = sys.argv[1:]
    print(json.dumps({"all": all_metrics, "loop": against_loop}[what](*map(int, sizes))))
