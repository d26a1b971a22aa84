"""Stage `journeys`: a few journeys for the report, those on which the mechanisms disagree most."""

import dataclasses
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.clicks import labelled
from pipelines.config.run import RunConfig
from pipelines.core import files
from pipelines.explain import labelled_clicks
from pipelines.explain.explain import attributed, predictor, read_job
from pipelines.explain.journey import Attributed, Journey

#: The stage's file.
JOURNEYS = "journeys.json"

#: How many journeys, and of how many clicks each.
_CHOSEN, _LENGTHS = 7, (2, 8)

#: Clicks of each path length whose journeys are looked at.
_PER_LENGTH = 16

log = logging.getLogger("mal_tf.explain")


def write(config: RunConfig, directory: str, versions: Mapping[str, str], output: str) -> dict:
    """Chooses journeys of labelled clicks and writes `journeys.json`, with one pass over the logs.

    The same labels give the same journeys. Journeys whose labels differ from the label files are left out, with a warning.

    Args:
        config: the run.
        directory: of the finished label job.
        versions: directory of the SavedModel by model name.
        output: directory to write to.

    Returns:
        `{"journeys": how many}`.

    Raises:
        MalTfError: the logs or the labels can't be read.
    """
    data = labelled.load(directory, config.feature_spec)
    mechanisms = config.attribution.names
    clicks = labelled_clicks.candidates(data, mechanisms, _LENGTHS, _PER_LENGTH)
    journeys: list[dict] = []
    if len(clicks):
        job = read_job(config, directory)
        events = attributed(job, directory, config, sorted(set(clicks["user_id"])))
        predict = predictor(versions)
        for begin, end in choose(events, clicks):
            journeys.append(as_json(events.journey(begin, end, predict(events.records(begin, end))), list(versions)))
    result = {"window_hours": config.attribution.window_hours, "mechanisms": list(mechanisms), "journeys": journeys}
    files.write_text(f"{output}/{JOURNEYS}", json.dumps(result, indent=1) + "\n")
    return {"journeys": len(journeys)}


def choose(events: Attributed, clicks: pd.DataFrame) -> list[tuple[int, int]]:
    """Chooses journeys of the candidates, of different users: begin and end among the events.

    A journey is all clicks that share conversions. Of each length the one in which the mechanisms' credits differ most
    comes first; then the second of each, until there are enough.

    Args:
        events: of the candidates' users.
        clicks: see `labelled_clicks.candidates`.
    """
    by_length: dict[int, list[tuple[float, int, int]]] = {}
    users, differing = set(), 0
    for user, click, record in clicks[["user_id", "click_id", "record"]].itertuples(index=False):
        place = events.position(user, click)
        if place is None or labelled_clicks.differing(events.records(place, place + 1)[0], record):
            differing += 1
            continue
        begin, end = (int(bound[place]) for bound in events.linked)
        if user not in users and _LENGTHS[0] <= end - begin <= _LENGTHS[1]:
            users.add(user)
            by_length.setdefault(end - begin, []).append((-disagreement(events.journey(begin, end)), begin, end))
    if differing:
        log.warning(
            "%d of %d clicks have other labels in the label files than by the logs: have the logs changed since? Their "
            "journeys are left out",
            differing,
            len(clicks),
        )
    rounds = itertools.zip_longest(*(sorted(by_length[length]) for length in sorted(by_length)))
    ranked = [journey for journeys in rounds for journey in journeys if journey is not None]
    return sorted(((begin, end) for _, begin, end in ranked[:_CHOSEN]), key=lambda span: (span[1] - span[0], span))


def disagreement(journey: Journey) -> float:
    """Share of a conversion's credit that two mechanisms assign to different clicks.

    The mean over pairs of mechanisms and over conversions.
    """
    credits = [list(conversion.credit.values()) for conversion in journey.conversions]
    shares = np.nan_to_num(np.array(credits, np.float64))  # [conversions, mechanisms, clicks]
    apart = labelled_clicks.difference(shares.transpose(1, 0, 2).reshape(shares.shape[1], -1))
    return float(apart.sum() / 2 / len(credits))


def as_json(journey: Journey, models: Sequence[str]) -> dict[str, Any]:
    """A journey as in the file: times in ISO 8601, UTC; 0 credit where a click is not eligible."""
    fields = dataclasses.asdict(journey)
    for event in (*fields["clicks"], *fields["conversions"]):
        event["timestamp"] = event["timestamp"].isoformat()
    for click in fields["clicks"]:
        click["cvr"] = {name: click["cvr"].get(name) for name in models}
    for conversion in fields["conversions"]:
        conversion["credit"] = {name: [one or 0.0 for one in of] for name, of in conversion["credit"].items()}
    return fields
