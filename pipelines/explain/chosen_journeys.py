"""The stage `journeys`, which chooses the journeys on which mechanisms disagree most, for the report."""

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
from pipelines.explain.explain import attribute_users, predictor, read_job
from pipelines.explain.journey import Attributed, Journey

#: Name of the file that the stage writes.
JOURNEYS = "journeys.json"

#: Number of journeys, and the least and largest number of clicks of each.
_COUNT, _LENGTHS = 7, (2, 8)

#: Number of candidate clicks of each path length.
_PER_LENGTH = 16

log = logging.getLogger("mal_tf.explain")


def write(config: RunConfig, directory: str, versions: Mapping[str, str], output: str) -> dict:
    """Choose journeys of labelled clicks and write `journeys.json`, with one pass over the logs.

    The same labels give the same journeys. Journeys whose labels differ from the label files are left out, with a warning.

    Args:
        config: the run's config.
        directory: directory of the finished label job.
        versions: directory of the SavedModel by model name.
        output: directory to write to.

    Returns:
        `{"journeys": number of journeys}`.

    Raises:
        MalTfError: the logs or the labels can't be read.
    """
    data = labelled.load(directory, config.feature_spec)
    mechanisms = config.attribution.names
    clicks = labelled_clicks.candidates(data, mechanisms, _LENGTHS, _PER_LENGTH)
    journeys: list[dict] = []
    if len(clicks):
        job = read_job(config, directory)
        events = attribute_users(job, directory, config, sorted(set(clicks["user_id"])))
        predict = predictor(versions)
        for begin, end in choose(events, clicks):
            journeys.append(as_json(events.journey(begin, end, predict(events.records(begin, end))), list(versions)))
    result = {"window_hours": config.attribution.window_hours, "mechanisms": list(mechanisms), "journeys": journeys}
    files.write_text(f"{output}/{JOURNEYS}", json.dumps(result, indent=1) + "\n")
    return {"journeys": len(journeys)}


def choose(events: Attributed, clicks: pd.DataFrame) -> list[tuple[int, int]]:
    """Choose journeys of candidate clicks, each of another user.

    A journey is all clicks that share conversions. Of each length, the one in which the mechanisms' credits differ most is
    chosen first, then the second of each length, until there are enough.

    Args:
        events: all events of the candidates' users.
        clicks: the candidates, see `labelled_clicks.candidates`.

    Returns:
        Begin and end of each journey, as positions among the clicks of `events`.
    """
    by_length: dict[int, list[tuple[float, int, int]]] = {}
    users, changed = set(), 0
    for user, click, record in clicks[["user_id", "click_id", "record"]].itertuples(index=False):
        place = events.position(user, click)
        if place is None or labelled_clicks.differing(events.records(place, place + 1)[0], record):
            changed += 1
            continue
        begin, end = (int(bound[place]) for bound in events.linked)
        if user not in users and _LENGTHS[0] <= end - begin <= _LENGTHS[1]:
            users.add(user)
            by_length.setdefault(end - begin, []).append((-disagreement(events.journey(begin, end)), begin, end))
    if changed:
        log.warning(
            "%d of %d clicks have other labels in the label files than the logs give now; the logs may have changed since. "
            "Their journeys are left out",
            changed,
            len(clicks),
        )
    rounds = itertools.zip_longest(*(sorted(by_length[length]) for length in sorted(by_length)))
    ranked = [journey for journeys in rounds for journey in journeys if journey is not None]
    return sorted(((begin, end) for _, begin, end in ranked[:_COUNT]), key=lambda span: (span[1] - span[0], span))


def disagreement(journey: Journey) -> float:
    """Return the share of a conversion's credit that two mechanisms assign to different clicks.

    The share is the mean over pairs of mechanisms and over conversions.
    """
    credits = [list(conversion.credit.values()) for conversion in journey.conversions]
    shares = np.nan_to_num(np.array(credits, np.float64))  # [conversions, mechanisms, clicks]
    differences = labelled_clicks.difference(shares.transpose(1, 0, 2).reshape(shares.shape[1], -1))
    return float(differences.sum() / 2 / len(credits))


def as_json(journey: Journey, models: Sequence[str]) -> dict[str, Any]:
    """Convert a journey to JSON, with times in ISO 8601, UTC, and credit 0 for clicks that are not eligible."""
    fields = dataclasses.asdict(journey)
    if not fields["context"]:
        del fields["context"]
    for event in (*fields["clicks"], *fields["conversions"], *fields.get("context", ())):
        event["timestamp"] = event["timestamp"].isoformat()
    for click in fields["clicks"]:
        click["cvr"] = {name: click["cvr"].get(name) for name in models}
    for conversion in fields["conversions"]:
        conversion["credit"] = {
            name: [credit or 0.0 for credit in credits] for name, credits in conversion["credit"].items()
        }
        context_credit = conversion.pop("context_credit")
        if fields.get("context"):
            conversion["context_credit"] = {
                name: [credit or 0.0 for credit in credits] for name, credits in context_credit.items()
            }
    return fields
