"""Runs the label job: inputs are checked, the output directory is emptied, the pipeline runs."""

import json
import time
from collections.abc import Sequence
from typing import cast

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from features import vocabulary
from features.errors import MalTfError
from pipelines.config.run import RunConfig
from pipelines.core import beam_runner, files, manifest
from pipelines.core.exchange import Exchange
from pipelines.labels import fits
from pipelines.labels.finish import REPORT
from pipelines.labels.job import LabelJob, vocabulary_kinds
from pipelines.labels.ready_labels import ReadyLabels, Writer
from pipelines.labels.sources.mac import MacSource
from pipelines.labels.sources.tables import input_files

#: Input bytes per shard where `labels.shards` is not given.
_SHARD_BYTES = 16 << 20


def made_from(config: RunConfig) -> str:
    """Fingerprint of all that the labels depend on: inputs by path and size, and the config's parts.

    Raises:
        MalTfError: an input file is missing or empty, or an earlier run to go on from has not what is asked of it.
    """
    inputs = _inputs(config)
    included = {"sources", "features", "vocabulary", "attribution", "labels", "tfrecords"}
    parts = config.model_dump(mode="json", include=included)
    earlier = [_earlier_fits(config), _previous_vocabularies(config)]
    return manifest.fingerprint("labels", 3, inputs, [files.modified(path) for path, _ in inputs], parts, earlier)


def run(
    config: RunConfig, output: str, flags: Sequence[str] = (), overwrite: bool = False, backup: str = ""
) -> dict | None:
    """Runs the label job into `output`.

    Args:
        config: the run.
        output: fresh directory.
        flags: Beam's own flags.
        overwrite: whether a finished `output` may be replaced.
        backup: path that holds the previous finished output during the run and from which it is restored on failure; see
            `manifest.replaced`. If empty, the previous output is deleted.

    Returns:
        The report; None where somebody else waits for the job (see `pipelines.core.beam_runner.run`), which finishes by itself.

    Raises:
        MalTfError: bad flags, bad input, rows unaccounted for, output finished already or not ours.
    """
    job = pipeline(config, output, flags)  # Before: it may go on from the labels that it replaces.
    ended = beam_runner.run_into(output, job, overwrite, backup)
    if not ended:
        return None
    return json.loads(files.read_text(FileSystems.join(output, REPORT)))


def pipeline(config: RunConfig, output: str, flags: Sequence[str] = ()) -> beam.Pipeline:
    """The label job's pipeline; building it reads inputs' names and sizes, a header of each table, and writes nothing.

    Raises:
        MalTfError: bad flags or input, or local paths that the runner's workers would not find.
    """
    options = beam_runner.pipeline_options(flags)
    local = beam_runner.is_local(options)
    if not local:
        beam_runner.check_remote_paths([("output", output), *(("input", path) for path in _patterns(config))])
    exchange = Exchange(FileSystems.join(output, beam_runner.EXCHANGE) if local and files.is_local(output) else None)
    job = beam_runner.pipeline(options)
    _ = job | "Labels" >> (_ready(config, output) if config.ready_made else label_job(config, output, exchange))
    return job


def dry_run(config: RunConfig, output: str, flags: Sequence[str]) -> str:
    """Describes the Dataflow job that the flags ask for, without submitting or writing anything.

    Raises:
        MalTfError: bad flags or input, flags for another runner, or local paths.
    """
    from pipelines.core import dataflow

    described = dataflow.describe(pipeline(config, output, flags))
    inputs = _inputs(config)
    return (
        "Dry run: nothing was submitted or written.\n"
        f"reads:    {len(inputs)} files, {sum(size for _, size in inputs):,} bytes\n"
        f"writes:   {output}\n{described}"
    )


def label_job(config: RunConfig, output: str, exchange: Exchange) -> LabelJob:
    """The job that labels logs; there is none where the labels are ready-made.

    The header of each table's first file is read: a column that the config misspells is no reason to take away labels that
    there are.

    Raises:
        MalTfError: bad input.
    """
    tables = config.sources.tables()
    if config.labels is None:
        raise MalTfError("labels is missing: the label job needs to know where the evaluation split begins")
    paths = sorted({path for t in (tables.clicks, tables.conversions) for path, _ in files.match(t.files)})
    shards = config.labels.shards or max(-(-sum(size for _, size in _inputs(config)) // _SHARD_BYTES), 1)
    job = LabelJob(
        sources=tables,
        spec=config.feature_spec,
        attribution=config.attribution,
        labels=config.labels,
        level=config.tfrecords.compression_level,
        shards=shards,
        output=output,
        paths=paths,
        now=int(time.time() * tables.units_per_second),
        exchange=exchange,
        made_from=made_from(config),
        earlier=_earlier_fits(config),
        previous=_previous_vocabularies(config),
    )
    for name, source in (("clicks", tables.clicks), ("conversions", tables.conversions)):
        job.reader(name).check_header(files.match(source.files)[0][0])
    return job


def _ready(config: RunConfig, output: str) -> ReadyLabels:
    level = config.tfrecords.compression_level
    writer = Writer(cast(MacSource, config.sources), config.feature_spec, config.attribution.names, output, level)
    return ReadyLabels(writer, made_from(config))


def _patterns(config: RunConfig) -> list[str]:
    if isinstance(config.sources, MacSource):
        return [config.sources.folder]
    tables = config.sources.tables()
    return [path for t in (tables.clicks, tables.conversions) for path in (*t.files, *(j.files for j in t.join))]


def _inputs(config: RunConfig) -> list[tuple[str, int]]:
    if isinstance(config.sources, MacSource):
        return sorted(config.sources.inputs([f.source_column for f in config.feature_spec.with_vocabulary]))
    tables = config.sources.tables()
    return sorted(set(input_files(tables.clicks) + input_files(tables.conversions)))


def _earlier_fits(config: RunConfig) -> tuple[dict[str, dict], list[str]] | None:
    directory = config.attribution.fit_from
    if directory is None:
        return None
    manifest.read(directory, "the finished label job of attribution.fit_from")
    return fits.read(directory, config.attribution, config.sources.tables().clicks.columns.touchpoint)


def _previous_vocabularies(config: RunConfig) -> dict[str, list[str]]:
    """Lines of the earlier run's vocabularies; features it did not have start anew."""
    directory = config.labels.grow_from if config.labels else None
    if directory is None:
        return {}
    then = manifest.read(directory, "the finished label job of labels.grow_from").get("vocabularies", {})
    vocabularies = {}
    for name, kind in vocabulary_kinds(config.feature_spec).items():
        if then.get(name, kind) != kind:
            raise MalTfError(
                f"labels.grow_from: feature '{name}' is {kind} here and was {then[name]} in {directory}: a vocabulary of "
                "one can't grow into the other's. Give it another name, or start anew."
            )
        if name in then:
            path = FileSystems.join(directory, "vocabulary", f"{name}.txt")
            vocabularies[name] = vocabulary.read(files.read_text(path))
    return vocabularies
