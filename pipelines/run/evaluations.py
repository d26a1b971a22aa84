"""The evaluations of a run: of its own or of other exports, on one machine or as a Beam job."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.clicks import labelled
from pipelines.core import cache, files, manifest
from pipelines.evaluate import evaluate
from pipelines.evaluate.distributed import run as evaluation_job

if TYPE_CHECKING:
    from pipelines.run.run import Run


def evaluation(run: "Run", split: str, labels: str, versions: Mapping[str, str]) -> str:
    """Evaluate exported models; see `Run.evaluation`."""
    models, source, trained = _evaluated(run, labels, versions)
    parts = run.config.evaluation.model_dump(mode="json")
    if versions:
        made_from: list[Any] = [
            [name, path, files.listing(path), files.modified(f"{path}/saved_model.pb")] for name, path in models.items()
        ]
    else:
        made_from = [manifest.read(run.path("export", name)) for name in models]
    made_from += [parts, run.config.seed, run.config.model.primary, run.config.model.name]
    made_from += evaluate.computed_by()
    name = "evaluate"
    if versions or labels or split != "eval":
        made_from += [split, manifest.made_from(source), manifest.made_from(trained), run.config.attribution.names]
        name = f"evaluations/{split}-{manifest.fingerprint(*made_from)[:8]}"

    def stage(output: str) -> Any:
        _check_exports(run, versions)
        clicks, trained_on = cache.directory(source), cache.directory(trained)
        here = {model: cache.directory(path) for model, path in models.items()}
        return evaluate.run(run.config, clicks, here, output, split, trained_on)

    return run.stages.run(name, made_from, stage)


def distributed_evaluation(run: "Run", split: str, labels: str, versions: Mapping[str, str]) -> str:
    """Evaluate with the Beam job; see `Run.distributed_evaluation`."""
    models, source, trained = _evaluated(run, labels, versions)
    if run.workers:
        models = {model: run.stages.shown(path) for model, path in models.items()}
    evaluation = evaluation_job.Evaluation(run.config, source, models, split, trained)
    name = f"evaluations/distributed-{split}-{evaluation.made_from[:8]}"

    def job(output: str, backup: str) -> None:
        _check_exports(run, versions)
        metrics = evaluation_job.run(evaluation, output, run.flags, overwrite=True, backup=backup)
        if metrics:
            events = run.path(name, evaluate.EVENTS)
            evaluate.write_events(metrics["labels"], events)
            if run.mirror:
                cache.upload(events, files.listing(events), f"{output}/{evaluate.EVENTS}")

    run.stages.run_job(name, evaluation.made_from, job, here=[evaluate.METRICS])
    return run.path(name)


def _check_exports(run: "Run", versions: Mapping[str, str]) -> None:
    """Check that the run's SavedModels are as they were exported, if no others are evaluated."""
    for name in () if versions else run.config.model.names:
        stage = run.path("export", name)
        for entry in manifest.elsewhere(manifest.read(stage)):
            manifest.check_file(stage, entry["path"])


def _evaluated(run: "Run", labels: str, versions: Mapping[str, str]) -> tuple[dict[str, str], str, str]:
    """Return the SavedModels by name, the label job whose clicks are evaluated, and the one that was trained on."""
    if labels:
        labelled.read_manifest(labels)  # Fails before any work if the label job is not finished.
    models = dict(versions) or {name: run.export(name) for name in run.config.model.names}
    source = labels or run.labels()
    return models, source, source if versions else run.labels()
