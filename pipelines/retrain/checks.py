"""The check stage, which tests labelled clicks before training for missing days, drift, skew and implausible labels."""

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from features.frozen import AS_TUPLE, Frozen, Path, Range
from mal_tf.attribution.labels import implied
from pipelines.config.run import RunConfig
from pipelines.core import files
from pipelines.retrain.distances import DistanceLimits, distances
from pipelines.retrain.measurement import Measurement
from pipelines.retrain.spans import PLACEHOLDER, MissingLog

#: Name of the file that `run` writes.
MEASUREMENTS = "measurements.json"

#: Positives are compared if their number, or the expected one, is at least this.
_MIN_POSITIVES = 20


class ChecksConfig(Frozen):
    """Limits on the labelled clicks.

    Attributes:
        drift: largest distances between the newest clicks and earlier ones.
        skew: largest distances between the newest clicks and the requests in the serving log.
        serving_log: files or globs of logged requests to the server: tf.Examples in TFRecords, gzipped or not. `{date}`
            stands for the day that the candidate is judged on. Without it, skew is not checked.
        rows: least and largest number of a table's rows on a day, relative to the median of earlier days.
        positives: least and largest share of positives of a mechanism, relative to the median of earlier spans.
    """

    drift: DistanceLimits = DistanceLimits()
    skew: DistanceLimits = DistanceLimits()
    serving_log: Annotated[tuple[Path, ...], AS_TUPLE] = ()
    rows: Range = (0.5, 2.0)
    positives: Range = (0.5, 2.0)


@dataclasses.dataclass(frozen=True)
class SpanData:
    """Statistics and label report of a span's labelled clicks, with those of earlier spans for comparison.

    Attributes:
        statistics: TFDV's statistics of the `train` and the `eval` split.
        previous: the statistics of the last good run; None on a first run, whose splits are compared with each other.
        report: the label report.
        history: label reports of earlier spans, oldest first.
        days: days of which both tables must have rows.
        judge: day that the candidate is judged on.
        anomalies: anomalies found by the validation against the schema, a line each.
    """

    statistics: Mapping[str, DatasetFeatureStatisticsList]
    previous: Mapping[str, DatasetFeatureStatisticsList] | None
    report: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    days: Sequence[datetime.date]
    judge: datetime.date
    anomalies: Sequence[str] = ()


def run(data: SpanData, config: RunConfig, limits: ChecksConfig, output: str) -> dict[str, list[str]]:
    """Run the check stage: measure the clicks to train on, and write `measurements.json`.

    Args:
        data: statistics and report of the clicks to train on.
        config: the run's config.
        limits: limits on the measurements.
        output: directory to write to.

    Returns:
        `{"anomalies": lines}`, of the schema and of the measurements. If there are any, the span must be refused.

    Raises:
        MissingLog: there is no serving log of the day that the candidate is judged on.
    """
    measurements = check(data, config, limits, serving_statistics(limits, data.judge, output))
    as_json = [dataclasses.asdict(one) | {"anomalous": one.anomalous} for one in measurements]
    files.write_text(f"{output}/{MEASUREMENTS}", json.dumps(as_json, indent=1) + "\n")
    return {"anomalies": [*data.anomalies, *(str(one) for one in measurements if one.anomalous)]}


def check(
    data: SpanData, config: RunConfig, limits: ChecksConfig, serving: DatasetFeatureStatisticsList | None
) -> list[Measurement]:
    """Measure the clicks to train on.

    Args:
        data: statistics and report of the clicks to train on.
        config: the run's config.
        limits: limits on the measurements.
        serving: statistics of the serving log; None without one.
    """
    spec, newest = config.feature_spec, data.statistics["eval"]
    measurements = [*_days(data.report, data.history, data.days, limits.rows)]
    if data.previous is None:
        measurements += distances(
            newest, data.statistics["train"], spec, limits.drift, "eval split against train split"
        )
    else:
        for split, split_stats in data.statistics.items():
            where = f"{split} split against the last good run's eval split"
            measurements += distances(split_stats, data.previous["eval"], spec, limits.drift, where)
    if serving is not None:
        measurements += distances(newest, serving, spec, limits.skew, "eval split against serving log")
    positives = _positives(data.report, data.history, limits.positives)
    return [*measurements, *positives, *_cat_classes(data.report, config)]


def serving_statistics(checks: ChecksConfig, day: datetime.date, output: str) -> DatasetFeatureStatisticsList | None:
    """Compute statistics of the requests in the serving log; return None without `checks.serving_log`.

    Args:
        checks: the config, which names the log.
        day: day that `{date}` stands for.
        output: directory to write the statistics to.

    Raises:
        MissingLog: a file does not exist.
    """
    pairs = [(path, None) for path, _ in serving_log(checks, day)]
    if not pairs:
        return None
    from pipelines.validate import statistics

    statistics.write_files({"serving": pairs}, output)
    return statistics.load(output)["serving"]


def serving_log(checks: ChecksConfig, day: datetime.date) -> list[tuple[str, int]]:
    """Return path and size in bytes of each serving log file of a day; none without `checks.serving_log`.

    Raises:
        MissingLog: a file does not exist.
    """
    patterns = tuple(pattern.replace(PLACEHOLDER, str(day)) for pattern in checks.serving_log)
    if missing := [pattern for pattern in patterns if not files.matches(pattern)]:
        raise MissingLog(f"checks.serving_log: expected requests in {', '.join(missing)}, found no file")
    return files.match(patterns)


def _days(
    report: Mapping[str, Any], history: Sequence[Mapping[str, Any]], days: Sequence[datetime.date], limits: Range
) -> Iterator[Measurement]:
    """Measure the rows of each day, those of new days against the median of the last seven days that earlier spans read."""
    for table, rows in report["days"].items():
        before = {day: rows for earlier in history for day, rows in earlier["days"].get(table, {}).items()}
        median = float(np.median([before[day] for day in sorted(before)[-7:]])) if before else 0.0
        for day in map(str, days):
            low, high = (limit * median for limit in limits) if before and day not in before else (0.0, None)
            yield Measurement("logs", table, f"rows on {day}", rows.get(day, 0), max(low, 1.0), high)


def _positives(report: Mapping[str, Any], history: Sequence[Mapping[str, Any]], limits: Range) -> Iterator[Measurement]:
    """Measure the positives of each mechanism, against the median share of the same split in earlier spans."""
    for split, counts in report["splits"].items():
        earlier_counts = [earlier["splits"][split] for earlier in history if earlier["splits"][split]["clicks"]]
        for name, mechanism_counts in counts["mechanisms"].items():
            shares = [
                one["mechanisms"][name]["positives"] / one["clicks"]
                for one in earlier_counts
                if name in one["mechanisms"]
            ]
            if not shares:
                continue
            expected = float(np.median(shares) * counts["clicks"])
            if max(expected, mechanism_counts["positives"]) < _MIN_POSITIVES:
                continue
            low, high = (limit * expected for limit in limits)
            measure = f"positives among {counts['clicks']:,} clicks"
            yield Measurement(f"{split} split", f"label_{name}", measure, mechanism_counts["positives"], low, high)


def _cat_classes(report: Mapping[str, Any], config: RunConfig) -> Iterator[Measurement]:
    """Measure whether CAT classes agree with the labels, and whether there are classes that no journey can produce."""
    names = report["cat_bits"]
    mechanisms = {mechanism.name: mechanism for mechanism in config.attribution.mechanisms}
    rules = config.attribution.mechanism_rules(1, config.sources.tables().context_names)
    implications = implied({name: mechanisms[name].make() for name in names}, rules)
    for split, counts in report["splits"].items():
        classes = np.array([int(number) for number in counts["cat_classes"]], np.int64)
        clicks = np.array(list(counts["cat_classes"].values()), np.int64)
        positive = {name: classes >> bit & 1 == 1 for bit, name in enumerate(names)}
        where, valid = f"{split} split", classes < 2 ** len(names)
        measure = f"clicks of classes 0 to {2 ** len(names) - 1}"
        yield Measurement(where, "label_cat", measure, int(clicks[valid].sum()), counts["clicks"], counts["clicks"])
        for name in names:
            positives = counts["mechanisms"][name]["positives"]
            measure = f"clicks of classes with label_{name} above 0"
            yield Measurement(where, "label_cat", measure, int(clicks[positive[name]].sum()), positives, positives)
        for name, other in implications:
            measure = f"clicks of classes with label_{name} above 0 and label_{other} 0, which cannot be"
            yield Measurement(where, "label_cat", measure, int(clicks[positive[name] & ~positive[other]].sum()), 0, 0)
