"""Running a comparison from labels to results. It is resumable, as finished tasks are not repeated."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any

from mal_tf.evaluation.metrics import Auc
from mal_tf.models.config import AUTO
from pipelines.clicks import labelled
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.core.layout import BENCHMARK, CLICKS, RESULTS, RUN
from pipelines.labels import run as label_job
from pipelines.run.run import Run
from pipelines.studies.comparison import clicks, judge, plan, tasks, trial
from pipelines.studies.comparison.config import BenchmarkConfig
from pipelines.studies.comparison.plan import Trial
from pipelines.studies.comparison.tasks import Task

#: Version of each kind of task, incremented when a change of code makes its result differ for the same input.
_VERSIONS = {"batches": 1, "choices": 1, "trainings": 1, "metrics": 3, "rates": 1}

#: Comparison, primary target and name of a row.
Key = tuple[str, str, str]


def run(
    config: BenchmarkConfig,
    run_config: RunConfig,
    directory: str,
    workers: int = 1,
    make: Callable[[int], contextlib.AbstractContextManager[Executor]] = tasks.workers,
) -> dict[str, Any]:
    """Runs all unfinished tasks of a comparison and writes `results.json`.

    Args:
        config: config of the comparison.
        run_config: config of the run whose labels are used.
        directory: local directory of all outputs.
        workers: number of processes that train in parallel.
        make: creates an executor with a number of workers.

    Returns:
        The content of `results.json`:
        `name`, `seeds`, `bootstrap_samples`, `labels` (the label report), `tuning`, `comparisons`, `oracles`, `causes`,
        `made_by`.
    """
    for comparison in config.comparisons:  # Trials that can't be trained raise errors before any training.
        plan.row_trials(config, run_config, comparison, {})
    plan.tuning_trials(config, run_config)
    for name in (CLICKS, RESULTS, BENCHMARK):
        files.check_apart(f"{directory}/{name}", [path for path, _ in label_job.inputs(run_config)])
    opened = Run(run_config, directory)
    with opened.opened():
        opened.validate()
        files.write_text(f"{directory}/{BENCHMARK}", config.model_dump_json(indent=1) + "\n")
        work = _Work(config, run_config, opened.labels(), directory)
        work.write_clicks()
        with make(workers) as pool:
            tuning = work.tuned(pool)
            rates = {model: tuned["learning_rate"] for model, tuned in tuning.items()}
            rows = {
                (comparison.name, *key): trials
                for comparison in config.comparisons
                for key, trials in plan.row_trials(config, run_config, comparison, rates).items()
            }
            work.prepare(pool, [one for trials in rows.values() for one in trials])
            choices = work.choices(pool, rows)
            rows |= work.with_choices(rows, choices)
            trained, judged, oracles = work.trained(pool, rows), work.judged(pool, rows), work.oracles(pool)
        with make(1) as alone:  # Speed is measured with no other work on the machine.
            speeds = work.speeds(alone, rows)
        result = {
            "name": config.name,
            "seeds": list(config.seeds),
            "bootstrap_samples": config.bootstrap_samples,
            "labels": json.loads(files.read_text(f"{work.labels}/label_report.json")),
            "tuning": tuning,
            "comparisons": [
                {
                    "name": comparison.name,
                    "against": comparison.against,
                    "slices": {
                        primary: judge.counts(work.clicks, primary, comparison.slices, config.growth)
                        for primary in comparison.primaries
                    },
                    "rows": [
                        {
                            "primary": primary,
                            "row": name,
                            "choice": choices.get(key),
                            "learning_rate": rows[key][0].config.training.learning_rate,
                            "parameters": trained[key][0]["parameters"],
                            "examples_per_second": speeds[key][0],
                            **judge.row(judged[key], judged[comparison.name, primary, comparison.against]),
                        }
                        for primary in comparison.primaries
                        for name in comparison.rows
                        for key in [(comparison.name, primary, name)]
                    ],
                }
                for comparison in config.comparisons
            ],
            "oracles": oracles,
            "causes": work.causes(),
            "made_by": json.loads(files.read_text(f"{directory}/{RUN}")),
        }
        text = json.dumps(result, indent=1)
        files.write_text(f"{directory}/{RESULTS}", text + "\n")
        return json.loads(text)


@dataclasses.dataclass(frozen=True)
class _Work:
    """Tasks of a comparison on the labels of a run.

    Attributes:
        config: config of the comparison.
        run_config: config of the run.
        labels: directory of the finished label job.
        root: directory of all tasks.
    """

    config: BenchmarkConfig
    run_config: RunConfig
    labels: str
    root: str

    @property
    def clicks(self) -> str:
        """Path of the file with the clicks of the evaluation split."""
        return f"{self.root}/{CLICKS}"

    def write_clicks(self) -> None:
        """Writes the clicks that trials are evaluated on."""
        slices = list(dict.fromkeys(by for comparison in self.config.comparisons for by in comparison.slices))
        data = labelled.load(self.labels, self.run_config.feature_spec)
        frame = clicks.evaluated(data, self.run_config.attribution.names, slices, self.config.growth)
        if self.config.truth:
            frame = clicks.with_truth(frame, self.config.truth)
        frame.to_parquet(self.clicks, index=False)

    def tuned(self, pool: Executor) -> dict[str, dict]:
        """Tunes learning rates and returns `learning_rate`, and `auc` by rate, of each model, or of each row."""
        trials = plan.tuning_trials(self.config, self.run_config)
        self.prepare(pool, [one for ones in trials.values() for one in ones])
        done = self._each(pool, {key: list(map(self._training, ones)) for key, ones in trials.items()})
        aucs = {key: plan.mean_auc(results) for key, results in done.items()}
        return {
            model: {
                "learning_rate": rate,
                "trainings": len(trials[model, rate]),
                "auc": {str(tried): auc for (name, tried), auc in aucs.items() if name == model},
            }
            for model, rate in plan.best_rates(aucs).items()
        }

    def prepare(self, pool: Executor, trials: Iterable[Trial]) -> None:
        """Saves the training batches of trials."""
        tasks.finish([self._batches(one) for one in trials], self.root, pool)

    def choices(self, pool: Executor, rows: dict[Key, list[Trial]]) -> dict[Key, dict]:
        """Returns the result of `trial.choose` for the first seed of each row with `auxiliaries: auto`."""
        automatic = {key: trials[0] for key, trials in rows.items() if trials[0].config.model.auxiliaries == AUTO}
        tasks_by_row = {key: [self._trial_task("choices", trial.choose, one)] for key, one in automatic.items()}
        return {key: choice for key, (choice,) in self._each(pool, tasks_by_row).items()}

    def with_choices(self, rows: dict[Key, list[Trial]], choices: dict[Key, dict]) -> dict[Key, list[Trial]]:
        """Returns the rows with `auxiliaries: auto`, with the chosen auxiliaries instead."""
        return {
            key: [
                dataclasses.replace(one, config=one.config.with_auxiliaries(choice["auxiliaries"])) for one in rows[key]
            ]
            for key, choice in choices.items()
        }

    def trained(self, pool: Executor, rows: dict[Key, list[Trial]]) -> dict[Key, list[dict]]:
        """Trains all rows and returns the results of `trial.run`."""
        return self._each(pool, {key: list(map(self._training, trials)) for key, trials in rows.items()})

    def judged(self, pool: Executor, rows: dict[Key, list[Trial]]) -> dict[Key, list[dict]]:
        """Evaluates all rows and returns the results of `judge.judge`."""
        slices = {comparison.name: comparison.slices for comparison in self.config.comparisons}
        return self._each(
            pool,
            {
                (name, primary, row): [
                    self._judging(
                        str(one),
                        f"{self._training(one).directory(self.root)}/{trial.PREDICTIONS}",
                        one.made_from(self._made_from),
                        primary,
                        slices[name],
                    )
                    for one in trials
                ]
                for (name, primary, row), trials in rows.items()
            },
        )

    def oracles(self, pool: Executor) -> dict[str, dict[str, dict]]:
        """Evaluates true probabilities and returns metrics by primary target and column."""
        truth = self.config.truth
        primaries = dict.fromkeys(primary for comparison in self.config.comparisons for primary in comparison.primaries)
        tasks_by_oracle = {
            (primary, column): [self._judging(f"truth: {column}", column, [self._made_from, column], primary, ())]
            for primary in primaries
            for column in (truth.oracles if truth else ())
        }
        metrics: dict[str, dict] = {}
        for (primary, column), (result,) in self._each(pool, tasks_by_oracle).items():
            caused = result["resampled"][judge.CAUSED][judge.CAUSED][Auc.name][0]
            values = result["metrics"] | {"caused_auc": caused}
            metrics.setdefault(primary, {})[column] = {name: judge.known(value) for name, value in values.items()}
        return metrics

    def causes(self) -> dict[str, dict]:
        """Compares labels with causes, see `judge.labels_and_causes`; empty without a truth."""
        truth = self.config.truth
        return judge.labels_and_causes(self.clicks, truth.caused, self.run_config.attribution.names) if truth else {}

    def speeds(self, pool: Executor, rows: dict[Key, list[Trial]]) -> dict[Key, list[float | None]]:
        """Measures training speed, in examples per second, of the first trial of each row."""
        steps = self.config.rate_steps
        if not steps:
            return {key: [None] for key in rows}
        tasks_by_row = {key: [self._trial_task("rates", trial.rate, trials[0], steps)] for key, trials in rows.items()}
        return self._each(pool, tasks_by_row)

    @property
    def _made_from(self) -> str:
        return manifest.read(self.labels)["made_from"]

    def _batches(self, one: Trial) -> Task:
        key = manifest.fingerprint("batches", _VERSIONS["batches"], *one.batches_made_from(self._made_from))
        return Task("batches", str(one), key, trial.prepare, (one, self.labels))

    def _training(self, one: Trial) -> Task:
        return self._trial_task("trainings", trial.run, one)

    def _trial_task(self, kind: str, work: Callable, one: Trial, *arguments) -> Task:
        key = manifest.fingerprint(kind, _VERSIONS[kind], *one.made_from(self._made_from), *arguments)
        prepared = self._batches(one).directory(self.root)
        return Task(kind, str(one), key, work, (one, self.labels, prepared, *arguments))

    def _judging(self, name: str, prediction: str, made_from: Sequence, primary: str, slices: Sequence[str]) -> Task:
        truth = self.config.truth
        settings = judge.Judging(
            primary,
            tuple(slices),
            self.config.growth,
            truth.caused if truth else None,
            self.config.bootstrap_samples,
            self.run_config.seed,
            tuple(judge.compared_metrics()),
        )
        parts = dataclasses.astuple(settings)
        key = manifest.fingerprint("metrics", _VERSIONS["metrics"], *made_from, *parts, clicks.truth_fingerprint(truth))
        return Task("metrics", name, key, judge.judge, (self.clicks, prediction, settings))

    def _each(self, pool: Executor, groups: dict[Any, list[Task]]) -> dict[Any, list]:
        """Runs groups of tasks and returns their results by the key of the group."""
        results = iter(tasks.finish([task for group in groups.values() for task in group], self.root, pool))
        return {key: [next(results) for _ in group] for key, group in groups.items()}
