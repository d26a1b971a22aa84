"""Running a search from labels to the best config. It is resumable, as finished trials are not repeated."""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from features.errors import MalTfError
from mal_tf.evaluation.metrics import HIGHER, registered_metrics
from pipelines.config.run import RunConfig, dump
from pipelines.core import files, manifest
from pipelines.core.layout import BEST, TRIALS, TUNE
from pipelines.run.run import Run
from pipelines.studies.comparison import tasks, trial
from pipelines.studies.comparison.plan import Trial
from pipelines.studies.comparison.tasks import Task
from pipelines.studies.tuning.space import propose, space, with_values

#: Trials proposed at a time, which don't know of each other. It is the same for any number of workers, and so is the result.
_ROUND = 4

#: Version of the trials, incremented when a change of code makes their result differ for the same input.
_VERSION = 1

log = logging.getLogger("mal_tf.tune")


def run(
    config: RunConfig,
    directory: str,
    workers: int = 1,
    make: Callable[[int], contextlib.AbstractContextManager[Executor]] = tasks.workers,
) -> dict[str, Any]:
    """Runs all unfinished trials of a search, and writes all trials to `trials.json` and the best config to `best.yaml`.

    Args:
        config: config of the run.
        directory: local directory of the run; the search writes to `tune/` in it.
        workers: number of processes that train in parallel. The result does not depend on it.
        make: creates an executor with a number of workers.

    Returns:
        `{"metric", "validation_segments", "model", "trials", "best"}`: for each trial its `values` by key, `auc`, `log_loss`, and
        `diverged` if its training did; `best` is the number of the best trial.

    Raises:
        MalTfError: the space does not fit the config, no segment is left to train on, or no trial has the metric.
    """
    chosen, tuning = space(config), config.tuning
    opened = Run(config, directory)
    with opened.opened():
        opened.validate()
        search = _Search(opened.resolved(), opened.labels(), f"{directory}/{TUNE}")
        tried: list[dict[str, Any]] = [{"values": _own_values(config, chosen)}]
        with make(workers) as pool:
            tried = search.finish(tried, pool)
            while len(tried) < tuning.trials:
                known = [(one["values"], one[tuning.metric]) for one in tried]
                numbers = range(len(tried), min(len(tried) + _ROUND, tuning.trials))
                proposed = [
                    {"values": propose(chosen, known, tuning.metric, config.seed + number)} for number in numbers
                ]
                tried += search.finish(proposed, pool)
                if not all("diverged" in one for one in tried):  # Otherwise later trials may do better.
                    leader = tried[best(tried, tuning.metric)][tuning.metric]
                    log.info("best of %d trials: %s %.5f", len(tried), tuning.metric, leader)
        winner = best(tried, tuning.metric)
        result = {
            "metric": tuning.metric,
            "validation_segments": tuning.validation_segments,
            "model": config.model.name,
            "trials": tried,
            "best": winner,
        }
        files.write_text(f"{search.root}/{TRIALS}", json.dumps(result, indent=1) + "\n")
        files.write_text(f"{search.root}/{BEST}", dump(with_values(config, tried[winner]["values"])))
        return result


class _Search:
    """Trainings of a run's served model with other values of some keys."""

    def __init__(self, config: RunConfig, labels: str, root: str):
        """Begins the search.

        Args:
            config: config of the run, with resolved auxiliaries.
            labels: directory of the finished label job.
            root: directory of all tasks.
        """
        self.root = root
        self._config, self._labels = config, labels
        self._made_from = manifest.made_from(labels)

    def finish(self, trials: list[dict[str, Any]], pool: Executor) -> list[dict[str, Any]]:
        """Trains what is not finished yet, and returns the trials with their metrics."""
        prepared = [self._trial(one["values"]) for one in trials]
        tasks.finish([self._batches(one) for one in prepared], self.root, pool)
        results = tasks.finish([self._training(one) for one in prepared], self.root, pool)
        kept = "auc", "log_loss", "diverged"
        return [
            one | {key: result[key] for key in kept if key in result}
            for one, result in zip(trials, results, strict=True)
        ]

    def _trial(self, values: Mapping[str, Any]) -> Trial:
        changed = with_values(self._config, values)
        alone = changed.model_copy(update={"model": changed.model.alone(changed.model.name), "calibration": None})
        return Trial(alone, self._config.tuning.validation_segments)

    def _batches(self, one: Trial) -> Task:
        key = manifest.fingerprint("batches", _VERSION, *one.batches_made_from(self._made_from))
        return Task("batches", str(one), key, trial.prepare, (one, self._labels))

    def _training(self, one: Trial) -> Task:
        key = manifest.fingerprint("trainings", _VERSION, *one.made_from(self._made_from))
        prepared = self._batches(one).directory(self.root)
        return Task("trainings", str(one), key, trial.run, (one, self._labels, prepared))


def _own_values(config: RunConfig, chosen: Mapping[str, Any]) -> dict[str, Any]:
    data = config.model_dump()
    return {key: data[block][name] for key in chosen for block, name in [key.split(".", 1)]}


def best(tried: list[dict[str, Any]], metric: str) -> int:
    """Returns the number of the trial with the best metric, the first of equal ones.

    Raises:
        MalTfError: no trial has the metric.
    """
    sign = -1 if registered_metrics()[metric].better == HIGHER else 1
    scored = [(sign * one[metric], number) for number, one in enumerate(tried) if one[metric] is not None]
    if not scored:
        raise MalTfError(
            f"tuning: no trial has {metric}, because training diverged (try smaller rates) or the held-out segments have clicks "
            "of one class only (raise tuning.validation_segments)"
        )
    return min(scored)[1]
