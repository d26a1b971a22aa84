"""Runs the evaluation job: checks its inputs, prepares the output directory, builds and runs the pipeline."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from features.errors import MalTfError
from mal_tf.evaluation.metrics import registered_metrics
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.clicks.labelled import Labelled
from pipelines.config.evaluation import CLICK_AGE, INFORMATION_GAIN, USER_HISTORY, slice_features
from pipelines.config.run import RunConfig
from pipelines.core import beam_runner, files, manifest
from pipelines.core.exchange import Exchange
from pipelines.evaluate.distributed.earlier_clicks import Earlier
from pipelines.evaluate.distributed.finish import Finish
from pipelines.evaluate.distributed.job import EvaluationJob
from pipelines.evaluate.distributed.slices import Slices
from pipelines.evaluate.distributed.steps import Scope
from pipelines.evaluate.evaluate import METRICS, computed_by

#: Default number of clicks in a shard of users, and number of clicks in a range of predictions. A worker holds one of
#: either in memory.
_SHARD_CLICKS = _RANGE_CLICKS = 262_144


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The inputs of an evaluation job.

    Attributes:
        config: the run's config.
        labels: directory of the label job whose clicks are evaluated.
        versions: directory of the SavedModel by model name.
        split: `train` or `eval`.
        trained: directory of the label job that the models were trained on; by default `labels`.
        shards: number of parts that the users are split into, by default one per 262,144 clicks. It does not change results.
    """

    config: RunConfig
    labels: str
    versions: Mapping[str, str]
    split: str = "eval"
    trained: str = ""
    shards: int | None = None

    @property
    def made_from(self) -> str:
        """Fingerprint of everything that the result depends on.

        Raises:
            MalTfError: a label job is not finished, or a SavedModel does not exist.
        """
        config, models = self.config, []
        for name, version in self.versions.items():
            if not files.exists(path := f"{version}/saved_model.pb"):
                raise MalTfError(f"model '{name}': expected a SavedModel in {version}, found no saved_model.pb")
            models.append([name, version, files.listing(version), files.modified(path)])
        parts = [
            config.evaluation.model_dump(mode="json", exclude={"batch_size"}),
            config.seed,
            config.attribution.names,
            config.model.primary,
            config.model.name,
            *computed_by(),
        ]
        labels = [manifest.made_from(directory) for directory in (self.labels, self.trained or self.labels)]
        return manifest.fingerprint("evaluation job", 2, models, parts, labels, self.split)


def run(
    evaluation: Evaluation, output: str, flags: Sequence[str] = (), overwrite: bool = False, backup: str = ""
) -> dict | None:
    """Run the evaluation job.

    Args:
        evaluation: what to evaluate.
        output: new directory to write to.
        flags: Beam's own flags.
        overwrite: whether a finished `output` may be replaced.
        backup: see `pipelines.labels.run.run`.

    Returns:
        The content of `metrics.json`; None if the job was submitted and this process does not wait for it (see
        `pipelines.core.beam_runner.run`).

    Raises:
        MalTfError: flags or input are invalid, there is nothing to measure, or `output` is finished or not mal-tf's.
    """
    place = manifest.new_place(output)
    job = pipeline(evaluation, place, flags)
    models = [f"{version}/saved_model.pb" for version in evaluation.versions.values()]
    needs = [files.join(evaluation.labels, manifest.MANIFEST), *models]
    ended = beam_runner.run_into(place, job, overwrite, backup, needs)
    return json.loads(files.read_text(FileSystems.join(place, METRICS))) if ended else None


def pipeline(evaluation: Evaluation, output: str, flags: Sequence[str] = ()) -> beam.Pipeline:
    """Build the evaluation job's pipeline, which reads manifests but writes nothing.

    Raises:
        MalTfError: flags or input are invalid, or paths are local where the runner's workers can't reach them.
    """
    read = [evaluation.labels, evaluation.trained or evaluation.labels, *evaluation.versions.values()]
    files.check_apart(output, read)
    options = beam_runner.pipeline_options(flags)
    local = beam_runner.is_local(options)
    if not local:
        places = {
            "output": output,
            "labels": evaluation.labels,
            "labels of training": evaluation.trained or evaluation.labels,
        }
        beam_runner.check_remote_paths(
            options, [*places.items(), *(("model", path) for path in evaluation.versions.values())]
        )
    exchange = Exchange(FileSystems.join(output, beam_runner.EXCHANGE) if local and files.is_local(output) else None)
    job = beam_runner.pipeline(options)
    _ = job | "Evaluation" >> _job(evaluation, output, exchange)
    return job


def dry_run(evaluation: Evaluation, output: str, flags: Sequence[str]) -> str:
    """Describe the Dataflow job that the flags ask for, without submitting or writing anything.

    Raises:
        MalTfError: flags or input are invalid, the flags are for another runner, or paths are local.
    """
    from pipelines.core import dataflow

    described = dataflow.describe(pipeline(evaluation, output, flags))
    rows = labelled.load(evaluation.labels, evaluation.config.feature_spec).splits[evaluation.split].rows
    return (
        "Dry run: nothing was submitted or written.\n"
        f"reads:    {rows:,} clicks of {evaluation.labels}\n"
        f"writes:   {output}\n{described}"
    )


def _job(evaluation: Evaluation, output: str, exchange: Exchange) -> EvaluationJob:
    config, made_from = evaluation.config, evaluation.made_from
    spec, targets = config.feature_spec, config.attribution.names
    evaluated = labelled.load(evaluation.labels, spec)
    trained_on = labelled.load(evaluation.trained, spec) if evaluation.trained else evaluated
    split = evaluated.splits[evaluation.split]
    labels = [f"label_{name}" for name in targets]
    models = list(evaluation.versions)
    train = evaluated.splits["train"]
    trailing = range(len(train.segments))[-config.evaluation.growth.segments :] if evaluation.split == "eval" else ()
    past = train.chosen(trailing)
    slices = _slices(
        config,
        manifest.place(trained_on.directory),
        [by for by in config.slices if by != INFORMATION_GAIN or past.segments],
    )
    earlier = _earlier(slices, past, trained_on)
    scope = Scope(
        models=models,
        labels=labels,
        slices=slices,
        samples=config.evaluation.bootstrap_samples,
        seed=config.seed,
        bins=config.evaluation.calibration_bins,
        metrics=list(registered_metrics().values()),
    )
    entries = {"stage": "evaluation job", "made_from": made_from}
    finish = Finish(
        output=output,
        scope=scope,
        targets=targets,
        served=config.model.name if config.model.name in models else models[0],
        split=evaluation.split,
        entries=entries,
        exchange=exchange.directory,
    )
    job = EvaluationJob(
        files=list(split.files),
        earlier=earlier,
        versions=evaluation.versions,
        clicks=evaluated.clicks_in(split),
        scope=scope,
        batch_size=config.evaluation.batch_size,
        shards=evaluation.shards or max(-(-split.rows // _SHARD_CLICKS), 1),
        range_clicks=_RANGE_CLICKS,
        exchange=exchange,
        finish=finish,
    )
    job.clicks.check(job.columns)
    return job


def _slices(config: RunConfig, trained: str, by: Sequence[str]) -> Slices:
    spec, needs_time = config.feature_spec, CLICK_AGE in by
    return Slices(
        by=by,
        label=f"label_{config.model.primary}",
        config=config.evaluation,
        features={name: spec.dtype(spec.scalar(name)) for name in slice_features(by, spec)},
        vocabularies={
            feature.name: FileSystems.join(trained, "vocabulary", f"{feature.name}.txt")
            for feature in spec.with_vocabulary
        },
        units_per_second=config.sources.tables().units_per_second if needs_time else 1,
        window_hours=config.attribution.longest_window_hours if needs_time else 0.0,
    )


def _earlier(slices: Slices, past: Split, trained: Labelled) -> list[Earlier]:
    """Return the files of earlier clicks that slices depend on."""
    growth = set(past.files if INFORMATION_GAIN in slices.by else ())
    known = set(trained.splits["train"].files if USER_HISTORY in slices.by else ())
    return [Earlier(*file, file in growth, file in known) for file in sorted(growth | known)]
