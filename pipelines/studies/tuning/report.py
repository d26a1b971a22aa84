"""Table of a search's trials."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from pipelines.core.text_table import Table

#: Trials that the table shows, beside the config's own.
_SHOWN = 10


def table(result: Mapping[str, Any]) -> Table:
    """Return the table of the best trials and of the config's own values, which are trial 1.

    Args:
        result: what `pipelines.studies.tuning.run.run` returned.
    """
    trials, metric = list(enumerate(result["trials"])), result["metric"]
    sign = 1 if metric == "log_loss" else -1
    ranked = sorted((one for one in trials if one[1][metric] is not None), key=lambda one: sign * one[1][metric])
    shown = ranked[:_SHOWN] + [one for one in ranked[_SHOWN:] if one[0] == 0]
    keys = list(result["trials"][0]["values"])
    rows = [
        [
            f"{number + 1}" + (" (config)" if number == 0 else ""),
            *(_number(one[name]) for name in ("auc", "log_loss")),
            *(json.dumps(one["values"][key]) for key in keys),
        ]
        for number, one in shown
    ]
    diverged = sum("diverged" in one for _, one in trials)
    note = (
        f"{len(trials)} trials, {diverged} of which diverged. The best of many looks better than it is, because these clicks "
        "chose it; `mal-tf run` with its values evaluates it on the evaluation split."
    )
    segments = result["validation_segments"]
    held_out = "the last segment" if segments == 1 else f"the last {segments} segments"
    title = f"{result['model']}, by {metric} on {held_out} of the training split"
    return Table(title, ["trial", "AUC", "log-loss", *(key.split(".", 1)[1] for key in keys)], rows, note)


def flags(result: Mapping[str, Any]) -> str:
    """Return the best trial's values as options of the command line."""
    values = result["trials"][result["best"]]["values"]
    return " ".join(f"--set {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in values.items())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5f}"
