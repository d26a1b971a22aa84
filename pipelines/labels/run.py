"""Running the label job on a config: checks of its inputs, the fingerprint of its inputs, and the Beam run."""

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
from pipelines.labels import fits, sample
from pipelines.labels.finish import REPORT
from pipelines.labels.job import LabelJob, vocabulary_kinds
from pipelines.labels.ready_labels import ReadyLabels, Writer
from pipelines.labels.sources.mac import MacSource
from pipelines.labels.sources.tables import SourceTables, data_files, input_files, log_order

#: Input bytes per shard if `labels.shards` is not set, and the number of shards from which on shards grow, too.
_SHARD_BYTES, _MANY_SHARDS = 16 << 20, 6400


def made_from(config: RunConfig) -> str:
    """Returns the fingerprint of everything that the labels depend on, that is input files and parts of the config.

    Raises:
        MalTfError: an input file is missing or empty, or an earlier label job lacks fits or vocabularies to reuse.
    """
    tables = None if config.ready_made else config.sources.tables().resolved()
    return _made_from(config, tables)


def _made_from(config: RunConfig, tables: SourceTables | None) -> str:
    read = inputs(config, tables)
    included = {"sources", "features", "vocabulary", "attribution", "labels", "tfrecords"}
    parts = config.model_dump(mode="json", include=included)
    earlier = [_earlier_fits(config), _previous_vocabularies(config)]
    snapshots = {} if tables is None else tables.snapshots
    of_tables = {file.path for one in snapshots.values() for file in one.files}  # These never change.
    modified = [files.modified(path) for path, _ in read if path not in of_tables]
    stamps = [[name, *one.stamp] for name, one in snapshots.items()]
    return manifest.fingerprint("labels", 3, read, modified, parts, earlier, *stamps)


def run(
    config: RunConfig, output: str, flags: Sequence[str] = (), overwrite: bool = False, backup: str = ""
) -> dict | None:
    """Runs the label job into `output`.

    Args:
        config: config of the run.
        output: output directory.
        flags: Beam flags.
        overwrite: whether a finished `output` may be replaced.
        backup: path that holds the previous finished output during the run and from which it is restored on failure; see
            `manifest.replaced`. If empty, the previous output is deleted.

    Returns:
        The report; None if the job was only submitted (see `pipelines.core.beam_runner.run`).

    Raises:
        MalTfError: flags or inputs are invalid, rows are unaccounted for, or `output` is finished or not mal-tf's.
    """
    place = manifest.new_place(output)
    job = pipeline(config, place, flags)  # Built first, as it may read the labels that it replaces.
    needs = [] if beam_runner.is_local(job.options) else [path for path, _ in inputs(config)]
    completed = beam_runner.run_into(place, job, overwrite, backup, needs)
    if not completed:
        return None
    return json.loads(files.read_text(FileSystems.join(place, REPORT)))


def pipeline(config: RunConfig, output: str, flags: Sequence[str] = ()) -> beam.Pipeline:
    """Builds the pipeline of the label job.

    This reads names and sizes of the input files and a header of each table, and writes nothing.

    Raises:
        MalTfError: flags or inputs are invalid, or the workers of a remote runner cannot access local paths.
    """
    options = beam_runner.pipeline_options(flags)
    local = beam_runner.is_local(options)
    if not local:
        beam_runner.check_remote_paths(options, [("output", output), *(("input", path) for path in _patterns(config))])
    files.check_apart(output, [path for path, _ in inputs(config)])
    exchange = Exchange(FileSystems.join(output, beam_runner.EXCHANGE) if local and files.is_local(output) else None)
    job = beam_runner.pipeline(options)
    _ = job | "Labels" >> (_ready_labels(config, output) if config.ready_made else label_job(config, output, exchange))
    return job


def dry_run(config: RunConfig, output: str, flags: Sequence[str]) -> str:
    """Describes the Dataflow job that the flags define, without submitting or writing anything.

    Raises:
        MalTfError: flags or inputs are invalid, the flags are for another runner, or paths are local.
    """
    from pipelines.core import dataflow

    description = dataflow.describe(pipeline(config, output, flags))
    read = inputs(config)
    return (
        "Dry run: nothing was submitted or written.\n"
        f"reads:    {len(read)} files, {sum(size for _, size in read):,} bytes\n"
        f"writes:   {output}\n{description}"
    )


def label_job(config: RunConfig, output: str, exchange: Exchange) -> LabelJob:
    """Creates the job that labels logs; not for sources with ready-made labels.

    It checks the header of each table's first file, so that a misspelt column in the config is found before existing labels
    are deleted.

    Raises:
        MalTfError: an input is invalid.
    """
    tables = config.sources.tables().resolved()
    if config.labels is None:
        raise MalTfError(
            "labels is missing from the config; set at least labels.eval_from, where the evaluation split begins"
        )
    found = {file.path for t in tables.by_table.values() for file in data_files(t)}
    shards = config.labels.shards or default_shards(sum(size for _, size in inputs(config, tables)))
    job = LabelJob(
        sources=tables,
        spec=config.feature_spec,
        attribution=config.attribution,
        labels=config.labels,
        tfrecords=config.tfrecords,
        shards=shards,
        output=output,
        paths=sorted(found, key=log_order),
        now=time.time_ns(),
        exchange=exchange,
        made_from=_made_from(config, tables),
        earlier=_earlier_fits(config),
        previous=_previous_vocabularies(config),
    )
    for name, source in tables.by_table.items():
        read, found_files = job.reader(name), data_files(source)
        read.check_headers([file.path for file in found_files])
        sample.check(read, source, found_files, config.labels.max_bad_share)
    return job


def default_shards(size: int) -> int:
    """Number of shards for input files of this many bytes.

    The shuffle moves some kilobytes for each shard of each piece of a log, whatever is in them. So the shards of logs of more
    than 100 GiB grow with the square root of the log, as their number does.
    """
    shards = max(-(-size // _SHARD_BYTES), 1)
    return shards if shards <= _MANY_SHARDS else round((shards * _MANY_SHARDS) ** 0.5)


def _ready_labels(config: RunConfig, output: str) -> ReadyLabels:
    source, names = cast(MacSource, config.sources), config.attribution.names
    writer = Writer(source, config.feature_spec, names, output, config.tfrecords)
    return ReadyLabels(writer, made_from(config))


def _patterns(config: RunConfig) -> list[str]:
    if isinstance(config.sources, MacSource):
        return [config.sources.folder]
    tables = config.sources.tables()
    return [path for t in tables.by_table.values() for path in (*t.files, *(j.files for j in t.join))]


def inputs(config: RunConfig, tables: SourceTables | None = None) -> list[tuple[str, int]]:
    """Returns all files that the label job reads, with their sizes in bytes; the tables are those of the config by default."""
    if isinstance(config.sources, MacSource):
        return sorted(config.sources.inputs([f.source_column for f in config.feature_spec.with_vocabulary]))
    tables = tables or config.sources.tables().resolved()
    return sorted({file for source in tables.by_table.values() for file in input_files(source)})


def _earlier_fits(config: RunConfig) -> tuple[dict[str, dict], list[str]] | None:
    directory = config.attribution.fit_from
    if directory is None:
        return None
    found = manifest.read(directory, "the finished label job of attribution.fit_from")
    return fits.read(manifest.place(directory, found), config.attribution, config.sources.tables())


def _previous_vocabularies(config: RunConfig) -> dict[str, list[str]]:
    """Returns the lines of the earlier vocabularies by feature; new features have none."""
    directory = config.labels.grow_from if config.labels else None
    if directory is None:
        return {}
    found = manifest.read(directory, "the finished label job of labels.grow_from")
    kinds = found.get("vocabularies", {})
    vocabularies = {}
    for name, kind in vocabulary_kinds(config.feature_spec).items():
        if kinds.get(name, kind) != kind:
            raise MalTfError(
                f"labels.grow_from: feature '{name}' is {kind} here and was {kinds[name]} in {directory}; its vocabulary "
                "cannot be extended. Rename the feature, or remove labels.grow_from."
            )
        if name in kinds:
            path = FileSystems.join(manifest.place(directory, found), "vocabulary", f"{name}.txt")
            manifest.check_file(directory, f"vocabulary/{name}.txt")
            vocabularies[name] = vocabulary.read(files.read_text(path))
    return vocabularies
