"""Scenarios that `benchmarks.golden` runs with both commits, and the output files that it compares."""

import dataclasses
import json
from collections.abc import Sequence

from benchmarks.golden_files import (
    Compare,
    is_exact,
    is_interval,
    json_values,
    label_files,
    lines,
    table,
    tfrecords,
    weights,
    whole,
)

#: Placeholders in commands for the commit's checkout and for the scenario's output directory.
TREE, OUT = "{tree}", "{out}"

#: Name of the artefacts that may differ with `--intervals-may-differ`.
INTERVALS = "intervals and p-values"


@dataclasses.dataclass(frozen=True)
class Artefact:
    """Files of one kind that a scenario makes, at least one.

    Attributes:
        name: name in the table.
        files: pattern of their paths in the scenario's output, in which `*` also matches slashes.
        compare: compares a file with the other commit's.
        unit: unit of the amount that is compared.
    """

    name: str
    files: str
    compare: Compare
    unit: str


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Commands to run, and the artefacts to compare.

    Attributes:
        name: name on the command line.
        commands: arguments of each mal-tf command.
        artefacts: the artefacts to compare.
        seconds: approximate duration on one core; the longest scenario is started first.
    """

    name: str
    commands: Sequence[Sequence[str]]
    artefacts: Sequence[Artefact]
    seconds: int


def _label_artefacts(run: str) -> list[Artefact]:
    return [
        Artefact("labels", f"{run}/labels/Split-*/*", tfrecords, "records"),
        Artefact("label files in the manifest", f"{run}/labels/manifest.json", label_files, "digests"),
        Artefact("label report", f"{run}/labels/label_report.json", json_values(common=True), "values"),
        Artefact("vocabularies", f"{run}/labels/vocabulary/*.txt", lines, "lines"),
        Artefact("touchpoint types", f"{run}/labels/attribution/*.txt", lines, "lines"),
        Artefact(
            "attribution fits",
            f"{run}/labels/attribution/*.json",
            json_values(lambda key: key[0] != "made_for"),
            "values",
        ),
        Artefact("statistics", f"{run}/statistics/FeatureStats.pb", whole, "bytes"),
        Artefact("schema", f"{run}/validate/schema.pbtxt", lines, "lines"),
        Artefact("trained weights", f"{run}/train/*/model.weights.h5", weights, "numbers"),
        Artefact("losses", f"{run}/train/*/training.json", json_values(lambda key: key[0] == "losses"), "values"),
    ]


def _evaluation_artefacts(run: str) -> list[Artefact]:
    return [
        Artefact("predictions", f"{run}/evaluate/predictions.parquet", table, "rows"),
        Artefact("metrics", f"{run}/evaluate/metrics.json", json_values(is_exact), "values"),
        Artefact(INTERVALS, f"{run}/evaluate/metrics.json", json_values(is_interval), "values"),
    ]


def _retraining_artefacts(root: str) -> list[Artefact]:
    run = f"{root}/spans/*"
    return [
        *_label_artefacts(run),
        Artefact("calibration", f"{run}/calibrate/*/calibration.json", json_values(), "values"),
        Artefact("data checks", f"{run}/checks/measurements.json", json_values(), "values"),
        Artefact("predictions", f"{run}/judge/predictions.parquet", table, "rows"),
        Artefact("judgement", f"{run}/judge/judgement.json", json_values(is_exact), "values"),
        Artefact(INTERVALS, f"{run}/judge/judgement.json", json_values(is_interval), "values"),
        Artefact("version of each span", f"{run}/pushed.json", json_values(common=True), "values"),
        Artefact("served versions", f"{root}/serving/*/lineage.json", json_values(common=True), "values"),
    ]


_LOGS = Artefact("simulated logs", "logs/*.parquet", table, "rows")

_MECHANISMS = [
    *({"name": kind, "type": kind} for kind in ("first", "last", "linear", "position")),
    {"name": "time_decay", "type": "time_decay", "parameters": {"half_life_hours": 24}},
    *({"name": kind, "type": kind} for kind in ("shao_li", "shapley", "markov")),
    {"name": "attention", "type": "attention", "parameters": {"sample": 2000, "units": 4, "epochs": 1}},
]

_FEATURES = [
    *({"type": "categorical", "name": name} for name in ("industry", "product", "channel")),
    {"type": "categorical", "name": "age", "dtype": "int64"},
    {"type": "numeric", "name": "price", "buckets": 5},
    {"type": "history", "name": "clicked_channels", "of": "channel", "length": 5},
]
_BOUGHT = {"type": "history", "name": "bought_products", "of": "product", "events": "conversions", "length": 3}

_MODELS = ["base", "shared_bottom", "mmoe", "ple", "home", "natal", "moae"]

#: Layer widths of all models.
_TINY = {
    "model.embedding_dim": 4,
    "model.attention_units": [4],
    "model.bottom_units": [8],
    "model.tower_units": [4],
    "model.fusion_units": [4],
}


def _industry(name: str, hours: float, conversions: float, price: float) -> dict:
    return {
        "name": name,
        "share": 1.0,
        "clicks_per_interest": 1.5,
        "interest_hours": hours,
        "carry_over_hours": hours / 2,
        "conversions_per_click": conversions,
        "conversions_per_interest": conversions,
        "price": price,
    }


#: A market with few products and many conversions, so that a few thousand clicks have all of them in each split.
_MARKET = {
    "users": 1500,
    "days": 6,
    "present_at_start": 1.0,
    "products_per_industry": 4,
    "industries": [
        _industry("food", 6, 0.1, 15),
        _industry("fashion", 18, 0.08, 45),
        _industry("travel", 36, 0.06, 900),
    ],
}

#: No limits of distances, as days with so few clicks differ too much.
_ANY = dict.fromkeys(("l_infinity", "new_tokens", "jensen_shannon", "presence"))


def _settings(values: dict) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def _set(values: dict) -> list[str]:
    return [word for setting in _settings(values) for word in ("--set", setting)]


def _simulate(values: dict) -> list[str]:
    return ["simulate", f"{TREE}/examples/simulation/market.yaml", "--output", f"{OUT}/logs", *_set(_MARKET | values)]


KUAIRAND = Scenario(
    "kuairand",
    [["run", f"{TREE}/examples/kuairand/config.yaml", "--output", f"{OUT}/run"]],
    [*_label_artefacts("run"), *_evaluation_artefacts("run")],
    seconds=70,
)

MARKET = Scenario(
    "market",
    [
        _simulate({"clicks": 5000, "window_hours": 48}),
        [
            "evaluate",
            f"{OUT}/logs/config.yaml",
            "--output",
            f"{OUT}/run",
            *_set(
                _TINY
                | {
                    "attribution.mechanisms": _MECHANISMS,
                    "features": [*_FEATURES, _BOUGHT],
                    "labels.shards": 2,
                    "model.compare_with": _MODELS,
                    "model.auxiliaries": ["first", "linear", "shao_li"],
                    "model.expert_units": [8],
                    "model.categories": {"single": ["first", "last"], "multi": ["linear", "shao_li"]},
                    "training.batch_size": 128,
                    "evaluation.bootstrap_samples": 50,
                    "evaluation.slices": ["path_length", "industry"],
                }
            ),
        ],
    ],
    [_LOGS, *_label_artefacts("run"), *_evaluation_artefacts("run")],
    seconds=120,
)

RETRAINING = Scenario(
    "retraining",
    [
        _simulate({"clicks": 6000, "window_hours": 24, "daily_logs": True}),
        [
            "retrain",
            f"{TREE}/examples/retraining/market.yaml",
            "--first",
            *("--from", "2024-01-04", "--to", "2024-01-06"),
            *_set(
                {
                    "run": f"{OUT}/logs/config.yaml",
                    "root": f"{OUT}/daily",
                    "overrides": _settings(
                        _TINY
                        | {
                            "sources.clicks.files": ["clicks-{date}-*.parquet"],
                            "sources.conversions.files": ["conversions-{date}-*.parquet"],
                            "features": _FEATURES,
                            "labels.shards": 1,
                            "training.batch_size": 128,
                            "calibration": {"method": "platt"},
                            "evaluation.slices": ["industry"],
                        }
                    ),
                    "fit_age_days": 2,
                    "checks": {"drift": _ANY, "rows": [0, 100], "positives": [0, 100]},
                    "gates": {"floors": {}, "pcoc": None, "allowed_loss": {}, "samples": 50},
                    "infra": {"rows": 10, "calls": 5, "latency_ms": None},
                }
            ),
        ],
    ],
    [_LOGS, *_retraining_artefacts("daily")],
    seconds=70,
)

SCENARIOS = {scenario.name: scenario for scenario in (KUAIRAND, MARKET, RETRAINING)}
