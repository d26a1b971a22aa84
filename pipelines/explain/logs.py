"""Reads selected rows of a run's logs, with the label job's own code, which also cleans them."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from features import table
from mal_tf.attribution import shard
from mal_tf.attribution.shard import Shard
from pipelines.labels.clock import Clock
from pipelines.labels.job import LabelJob
from pipelines.labels.sources.reader import pieces
from pipelines.labels.sources.tables import data_files

#: Called with the number of rows read since the last call.
Advance = Callable[[int], None]


def silent(_: int) -> None:
    """Ignore progress: an `Advance` that does nothing."""


def read_events(job: LabelJob, users: Sequence[str], advance: Advance = silent) -> tuple[Shard, Clock]:
    """Read all events of some users in one pass over all logs, a batch at a time.

    Returns:
        The events, sorted and without duplicates, and the label job's clock, from the events of all users.

    Raises:
        MalTfError: the logs can't be read.
    """
    wanted, seen = pa.array(users, pa.string()), []
    by_table: dict[str, list[pa.Table]] = {name: [] for name in job.sources.by_table}
    for name, kept in by_table.items():
        for part in _read(job, name, advance):
            if isinstance(part, pa.Table):
                kept.append(part.filter(pc.is_in(part["user_id"], value_set=wanted)))
            elif part.tag == "seen":
                seen.append(part.value)
    ranged = job.time_range()
    clock = ranged.extract_output(ranged.merge_accumulators(seen))
    clicks, conversions, *context = (clock.in_units(_joined(job, name, kept)) for name, kept in by_table.items())
    clicks = shard.drop_duplicates(clicks, "click_id")[0]
    context = [shard.drop_duplicates(rows, "touch_id")[0] for rows in context]
    return shard.sort(clicks, shard.keep_latest(conversions, "conversion_id").rows, context), clock


@dataclasses.dataclass(frozen=True)
class InLog:
    """The occurrences of a click id in the click log.

    Attributes:
        users: users with a click of this id.
        bad: dead letters of rows with this id.
        example: the first id in the log, as an example; empty if the log has no clicks.
    """

    users: list[str]
    bad: list[dict]
    example: str


def look_up(job: LabelJob, click_id: str, advance: Advance = silent) -> InLog:
    """Look a click id up in the whole click log, including clicks after `observed_until`.

    Raises:
        MalTfError: the log can't be read.
    """
    job = dataclasses.replace(
        job, labels=job.labels.model_copy(update={"observed_until": None, "observed_before": None})
    )
    columns = job.sources.clicks.columns.click_id
    wanted, users, bad, example = table.parts(click_id, len(columns)), set(), [], ""
    for part in _read(job, "clicks", advance):
        if isinstance(part, pa.Table) and part.num_rows:
            text = part["click_id"].cast(pa.string())
            users.update(part["user_id"].filter(pc.equal(text, click_id)).to_pylist())
            example = example or text[0].as_py()
        elif not isinstance(part, pa.Table) and part.tag == "dead":
            letters = map(json.loads, part.value[1]["line"])
            bad += [letter for letter in letters if tuple(str(letter["record"].get(c)) for c in columns) == wanted]
    return InLog(sorted(users), bad, example)


def _read(job: LabelJob, name: str, advance: Advance) -> Iterator[pa.Table | TaggedOutput]:
    reader = job.reader(name)
    reader.setup()
    source = job.sources.by_table[name]
    for file in data_files(source):
        for piece in pieces(file, source):
            for part in reader.refined(piece):
                if not isinstance(part, pa.Table) and part.tag == "counts":
                    advance(part.value[name, "read"])
                yield part


def _joined(job: LabelJob, name: str, kept: list[pa.Table]) -> pa.Table:
    non_empty = [part for part in kept if part.num_rows] or [job.schema(name).empty_table()]
    return pa.concat_tables(non_empty).combine_chunks()
