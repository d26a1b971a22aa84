"""The Beam pipeline of the evaluation job, over Arrow tables shuffled once by user and once by each model's prediction."""

import dataclasses
from collections.abc import Mapping, Sequence

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsSingleton

from pipelines.clicks.labelled import LabelledClicks
from pipelines.core.exchange import Exchange
from pipelines.evaluate.distributed import steps
from pipelines.evaluate.distributed.earlier_clicks import Earlier, Past
from pipelines.evaluate.distributed.finish import Finish
from pipelines.evaluate.distributed.plan import MakePlan, add_up
from pipelines.evaluate.distributed.quantiles import ValuesAtCuts, add_counts, find_bounds
from pipelines.evaluate.distributed.score import Score
from pipelines.evaluate.distributed.steps import Scope

#: Number of neighbouring ranges that are combined at a time, and of the rounds that combine all ranges (up to 32⁴) to one.
_FAN_IN, _LEVELS = 32, 4


@dataclasses.dataclass(eq=False)
class EvaluationJob(beam.PTransform):
    """Scores a labelled split and writes `metrics.json` and, last, the manifest.

    Attributes:
        files: path and number of clicks of each label file.
        earlier: label files of earlier clicks, for slices of users.
        versions: directory of the SavedModel by model name, in the order of `scope.models`.
        clicks: the split's clicks.
        scope: what is evaluated.
        batch_size: number of clicks that are scored at a time.
        shards: number of parts that the users are split into.
        range_clicks: number of clicks in a range of predictions.
        exchange: transport of tables between steps.
        finish: the last step.
    """

    files: Sequence[tuple[str, int]]
    earlier: Sequence[Earlier]
    versions: Mapping[str, str]
    clicks: LabelledClicks
    scope: Scope
    batch_size: int
    shards: int
    range_clicks: int
    exchange: Exchange
    finish: Finish

    def __post_init__(self):
        super().__init__()

    @property
    def columns(self) -> list[str]:
        """The columns of the clicks that are read."""
        return ["user_id", "timestamp", "path_length", "mature", *self.scope.labels, *self.scope.slices.features]

    def expand(self, pipeline):
        """Build the graph and return the output of the last step."""
        scorer = Score(
            self.versions,
            self.clicks,
            self.columns,
            self.scope.slices,
            self.batch_size,
            self.shards,
            self.exchange,
        )
        scored = (
            pipeline
            | "Files" >> beam.Create(self.files)
            | "Spread" >> beam.Reshuffle()
            | "Score" >> beam.ParDo(scorer).with_outputs("seen", main="clicks")
        )
        seen = scored.seen | "AddSeen" >> beam.CombineGlobally(add_up)
        make_plan, bounds = MakePlan(self.scope.slices, self.range_clicks, f"{self.finish.split} split"), {}
        if self.scope.slices.numeric:
            cuts = AsSingleton(seen | "Cuts" >> beam.Map(make_plan.cuts))
            bounds = AsSingleton(
                scored.clicks
                | "ValuesAtCuts" >> beam.ParDo(ValuesAtCuts(self.exchange), cuts)
                | "AddValues" >> beam.CombineGlobally(add_counts)
                | "Bounds" >> beam.Map(find_bounds, cuts)
            )
        plan = AsSingleton(seen | "Plan" >> beam.Map(make_plan, bounds))
        past = (
            pipeline
            | "EarlierFiles" >> beam.Create(self.earlier)
            | "SpreadEarlier" >> beam.Reshuffle()
            | "Past" >> beam.ParDo(Past(self.clicks, self.scope.slices.config.growth, self.shards, self.exchange))
        )
        users = (
            [scored.clicks, past]
            | "FlattenUsers" >> beam.Flatten()
            | "ShuffleByUser" >> beam.GroupByKey()
            | "Users"
            >> beam.ParDo(steps.Users(self.scope, self.exchange), plan).with_outputs(
                "sums", "sizes", "positives", "shards", main="ranges"
            )
        )
        sums, sizes, positives = (
            AsSingleton(users[name] | f"Add:{name}" >> beam.CombineGlobally(add_up))
            for name in ("sums", "sizes", "positives")
        )
        ranges = (
            users.ranges
            | "ShuffleByRange" >> beam.GroupByKey()
            | "Ranges" >> beam.ParDo(steps.Ranges(self.scope), plan, sizes)
        )
        for level in range(_LEVELS):
            ranges = (
                ranges
                | f"Neighbours:{level}" >> beam.MapTuple(_neighbours)
                | f"GroupNeighbours:{level}" >> beam.GroupByKey()
                | f"Combine:{level}" >> beam.MapTuple(lambda place, parts: (place, steps.combine(parts)))
            )
        range_sums = AsDict(ranges | "Models" >> beam.MapTuple(lambda place, part: (place[0], part)))
        curves = AsDict(ranges | "Curves" >> beam.Map(self.scope.curve, sizes))
        excess = (
            users.shards
            | "Calibrate" >> beam.ParDo(steps.Calibrate(self.scope), curves)
            | "AddExcess" >> beam.CombineGlobally(add_up)
        )
        once = pipeline | "Once" >> beam.Create([None])
        return once | "Finish" >> beam.Map(self.finish, plan, sums, positives, range_sums, curves, AsSingleton(excess))


def _neighbours(place: tuple[int, int], part):
    model, number = place
    return (model, number // _FAN_IN), (number, part)
