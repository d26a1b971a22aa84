"""A label job written row by row in Beam, in the usual way: alternative (a) of `benchmarks.labels`.

`python -m benchmarks.row_by_row CONFIG OUTPUT`. Rows are dicts, grouped by user with `CoGroupByKey`. Python loops find
the journeys, fit Shao-Li in a first pass (a side input of the second), and make a `tf.train.Example` of each click, and
`WriteToTFRecord` writes the two splits. The examples are the same as our label job's. It has no vocabularies, dead letters,
counts or order of rows, which makes it faster, not slower.
"""

import itertools
import pathlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import apache_beam as beam
import typer
from apache_beam.io.parquetio import ReadFromParquet
from apache_beam.io.tfrecordio import WriteToTFRecord
from apache_beam.pvalue import AsDict, TaggedOutput

from features.keras2 import tf
from pipelines.config.run import RunConfig, load
from pipelines.core import beam_runner

Row = dict[str, Any]
#: A user's id, with the user's clicks and conversions.
User = tuple[Any, Mapping[str, Iterable[Any]]]
#: A touchpoint type (a, a) or a pair of types (a < b), and whether the journey converted.
Counted = tuple[tuple[str, str], bool]


def run(config: RunConfig, output: pathlib.Path) -> None:
    """Label the logs of a config of `benchmarks.logs` and write `output/train*` and `output/eval*`."""
    tables, rules = config.sources.tables(), config.attribution.rules(1)
    until, eval_from = (round(m.timestamp()) for m in (config.labels.observed_until, config.labels.eval_from))
    features = {feature.name: feature.dtype for feature in config.feature_spec.scalars}
    with beam.Pipeline(options=beam_runner.pipeline_options()) as pipeline:
        clicks = pipeline | "ReadClicks" >> ReadFromParquet(
            tables.clicks.files[0],
            columns=list(dict.fromkeys(["id", "user", "ts", "campaign", "placement", *features])),
        )
        conversions = pipeline | "ReadConversions" >> ReadFromParquet(
            tables.conversions.files[0], columns=["id", "user", "ts", "campaign"]
        )
        grouped = {
            "clicks": clicks | "ClicksByUser" >> beam.Map(lambda row: (row["user"], row)),
            "conversions": conversions | "ConversionsByUser" >> beam.Map(lambda row: (row["user"], row)),
        } | "GroupByUser" >> beam.CoGroupByKey()
        counts = (
            grouped
            | "CountTypes" >> beam.ParDo(CountTypes(rules.window, until, eval_from))
            | "AddCounts" >> beam.CombinePerKey(sum)
        )
        labelled = grouped | "Label" >> beam.ParDo(
            Label(rules.window, until, eval_from, features), AsDict(counts)
        ).with_outputs("train", "eval")
        for split in ("train", "eval"):
            _ = labelled[split] | f"Write:{split}" >> WriteToTFRecord(
                str(output / split), file_name_suffix=".tfrecord.gz"
            )


def user_journeys(user: Mapping[str, Iterable[Row]], window: int, until: int) -> Iterator[tuple[list[Row], list]]:
    """Yield for each match key of a user the clicks in time order, and (conversion, positions of its eligible clicks)."""
    by_key: dict[str, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for kind, name in enumerate(("clicks", "conversions")):
        rows = sorted((row for row in user[name] if row["ts"] <= until), key=lambda row: (row["ts"], row["id"]))
        seen = set()
        for row in rows:
            if row["id"] not in seen:  # Otherwise the event was delivered twice.
                seen.add(row["id"])
                by_key[row["campaign"]][kind].append(row)
    for clicks, conversions in by_key.values():
        eligible = []
        begin = end = 0
        for conversion in conversions:
            while end < len(clicks) and clicks[end]["ts"] <= conversion["ts"]:
                end += 1
            while begin < end and clicks[begin]["ts"] < conversion["ts"] - window:
                begin += 1
            eligible.append((conversion, range(begin, end)))
        yield clicks, eligible


class CountTypes(beam.DoFn):
    """First pass: counts journeys by touchpoint type and by pair of types, for Shao-Li."""

    def __init__(self, window: int, until: int, fit_until: int):
        self._window, self._until, self._fit_until = window, until, fit_until

    def process(self, element: User) -> Iterator[tuple[Counted, int]]:
        """Count one user's journeys."""
        for clicks, conversions in user_journeys(element[1], self._window, self._until):
            claimed = set()
            for conversion, eligible in conversions:
                claimed.update(eligible)
                if conversion["ts"] < self._fit_until:
                    yield from self._count({clicks[i]["placement"] for i in eligible}, True)
            types: set[str] = set()
            last = None
            for position, click in enumerate(clicks):
                mature = click["ts"] + self._window <= self._until
                if position in claimed or click["ts"] >= self._fit_until or not mature:
                    yield from self._count(types, False)
                    types, last = set(), None
                    continue
                if last is not None and click["ts"] - last > self._window:
                    yield from self._count(types, False)
                    types = set()
                types.add(click["placement"])
                last = click["ts"]
            yield from self._count(types, False)

    def _count(self, types: set[str], converted: bool) -> Iterator[tuple[Counted, int]]:
        for pair in itertools.combinations_with_replacement(sorted(types), 2):
            yield (pair, converted), 1


class Label(beam.DoFn):
    """Second pass: converts a user's clicks to tf.Examples with labels, by split."""

    def __init__(self, window: int, until: int, eval_from: int, features: Mapping[str, str]):
        self._window, self._until, self._eval_from, self._features = window, until, eval_from, features
        self._probability: dict[tuple[str, str], float] | None = None

    def process(self, element: User, counts: Mapping[Counted, int]) -> Iterator[Any]:
        """Label one user's clicks."""
        if self._probability is None:
            self._probability = {
                types: counts.get((types, True), 0) / (counts.get((types, True), 0) + counts.get((types, False), 0))
                for types in {types for types, _ in counts}
            }
        for clicks, conversions in user_journeys(element[1], self._window, self._until):
            credits = [{"first": 0.0, "last": 0.0, "linear": 0.0, "mta": 0.0} for _ in clicks]
            lengths = [0] * len(clicks)
            for _, eligible in conversions:
                if not eligible:
                    continue
                credits[eligible[0]]["first"] += 1.0
                credits[eligible[-1]]["last"] += 1.0
                shares = self._shao_li([clicks[position]["placement"] for position in eligible])
                for position, share in zip(eligible, shares, strict=True):
                    credits[position]["linear"] += 1.0 / len(eligible)
                    credits[position]["mta"] += share
                    lengths[position] = max(lengths[position], len(eligible))
            for click, credit, length in zip(clicks, credits, lengths, strict=True):
                if click["ts"] + self._window <= self._until:
                    split = "eval" if click["ts"] >= self._eval_from else "train"
                    yield TaggedOutput(split, self._example(click, credit, length).SerializeToString())

    def _shao_li(self, journey: list[str]) -> list[float]:
        """Return the credit of each click of a journey, given as touchpoint types (see `mal_tf.attribution.shao_li`)."""
        types, probability = sorted(set(journey)), self._probability
        contribution = {}
        for one in types:
            alone = probability.get((one, one), 0.0)
            mutual = 0.0
            for other in types:
                pair = (one, other) if one < other else (other, one)
                if other != one and pair in probability:
                    mutual += probability[pair] - alone - probability[other, other]
            contribution[one] = max(alone + mutual / (2 * max(len(types) - 1, 1)), 0.0)
        shares = [contribution[one] / journey.count(one) for one in journey]
        total = sum(shares)
        return [share / total if total > 0 else 0.0 for share in shares]

    def _example(self, click: Row, credit: dict[str, float], length: int) -> tf.train.Example:
        capped = {name: min(value, 1.0) for name, value in credit.items()}
        cat = sum(1 << bit for bit, value in enumerate(capped.values()) if value > 0)
        feature = {
            "click_id": _int64(click["id"]),
            "user_id": _bytes(click["user"]),
            "timestamp": _int64(click["ts"]),
            "path_length": _int64(length),
            "mature": _int64(1),
            "label_cat": _int64(cat),
        }
        for name, value in capped.items():
            feature[f"label_{name}"] = _float(value)
            feature[f"credit_{name}"] = _float(credit[name])
        for name, dtype in self._features.items():
            if click[name] is not None:
                feature[name] = _MAKE[dtype](click[name])
        return tf.train.Example(features=tf.train.Features(feature=feature))


def _bytes(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))


def _int64(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _float(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


_MAKE = {"string": _bytes, "int64": _int64, "float32": _float}


def main(
    config: Annotated[str, typer.Argument(help="A config written by benchmarks.logs.")],
    output: Annotated[pathlib.Path, typer.Argument(help="Directory to write to.")],
) -> None:
    """Label the logs row by row."""
    output.mkdir(parents=True, exist_ok=True)
    run(load(config), output)


if __name__ == "__main__":
    typer.run(main)
