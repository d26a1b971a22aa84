"""A run's directory, as the stages leave it, of a few numbers."""

import json
import pathlib

import yaml
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from features.tfrecord import frame

MECHANISMS = ["first", "last", "linear"]
MODEL = {
    "name": "mal",
    "primary": "last",
    "compare_with": ["base"],
    "cat": True,
    "single_attribution": False,
    "embedding_dim": 16,
    "bottom_units": [8],
    "expert_units": [8],
    "tower_units": [8, 4],
    "experts": 2,
    "shared_experts": 1,
    "own_experts": 1,
    "levels": 2,
}
#: Of each model's network: a tower per mechanism, of which the primary's is served.
BLOCKS = [
    {"name": "bottom", "title": "Expert 8", "reads": [], "served": True, "target": None, "primary": False},
    *(
        {"name": f"{name}_tower", "title": "MLP 8→4", "reads": ["bottom"], "served": name == "last"}
        | {"target": None, "primary": False}
        for name in MECHANISMS
    ),
    *(
        {"name": f"{name}_head", "title": "Dense 1", "reads": [f"{name}_tower"], "served": name == "last"}
        | {"target": name, "primary": name == "last"}
        for name in MECHANISMS
    ),
]
FEATURES = [{"type": "categorical", "name": "place"}, {"type": "history", "name": "seen", "of": "place"}]
CONFIG = {
    "name": "small",
    "seed": 17,
    "sources": {"adapter": "tables"},
    "features": FEATURES,
    "attribution": {"window_hours": 12.0, "mechanisms": [{"name": name, "type": name} for name in MECHANISMS]},
    "labels": {"eval_from": "2023-11-17T00:00:00+00:00", "observed_until": "2023-11-18T00:00:00+00:00"},
    "model": MODEL,
}


def interval(difference: float, half: float, adjusted: float = 0.01) -> dict:
    return {
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "p": adjusted / 2,
        "adjusted_p": adjusted,
    }


def metrics(auc: float = 0.7) -> dict:
    return {
        "clicks": 400,
        "positives": 40,
        "auc": auc,
        "gauc": 0.6,
        "gauc_users": 30,
        "log_loss": 0.3,
        "pcoc": 0.9,
        "ece": None,
    }


def evaluation() -> dict:
    models = {"mal": metrics(0.72), "base": metrics(0.7)}
    differences = {
        "base": {"auc": interval(0.02, 0.01), "gauc": interval(0.01, 0.02), "log_loss": interval(-0.1, 0.05)}
    }
    part = {"clicks": 100, "users": 20, "positives": 10, "models": models, "differences": differences}
    bins = [
        {"clicks": 40, "predicted": p, "observed": p * 1.1, "low": p * 0.9, "high": p * 1.3} for p in (0.01, 0.1, 0.3)
    ]
    return {
        "target": "last",
        "split": "eval",
        "served": "mal",
        "models": models,
        "differences": differences,
        "intervals": {"mal": {"auc": {"low": 0.6912, "high": 0.7512}, "pcoc": {"low": None, "high": None}}},
        "labels": {
            name: {
                "models": models,
                "intervals": {"mal": {"auc": {"low": 0.6912, "high": 0.7512}, "pcoc": {"low": None, "high": None}}},
                "differences": differences,
                "calibration": {"mal": bins, "base": []},
            }
            for name in MECHANISMS
        },
        "calibration": {"mal": bins, "base": []},
        "slices": [
            {"by": "information_gain", "name": "none", "growth": 1.0, **part},
            {"by": "information_gain", "name": "1 or more", "growth": 2.5, **part},
            {"by": "path_length", "name": "1 click", "growth": None, **part},
            {"by": "place", "name": "top", "growth": 1.5, **part},
        ],
        "bootstrap": {"samples": 200, "seed": 17, "unit": "user"},
        "multiplicity": {"method": "holm", "family": "All labels together", "comparisons": 9},
    }


def labels() -> dict:
    split = {
        "clicks": 400,
        "mechanisms": {name: {"positives": 40, "ratio": 1.0, "credit": 39.5} for name in MECHANISMS},
        "cat_classes": {"0": 350, "5": 10, "7": 40},
    }
    rows = {"read": 1000, "filtered": 0, "after_observed_until": 0, "exact_repeats": 1, "dead_letters": 2}
    return {
        "clicks": rows | {"context": 0, "immature_dropped": 5, "immature_marked": 0, "written": 800},
        "conversions": rows | {"kept": 90, "attributed": 80, "without_click": 10},
        "ratio_to": "last",
        "splits": {"train": split, "eval": split},
        "days": {"clicks": {"2023-11-15": 500, "2023-11-16": 500}, "conversions": {"2023-11-16": 90}},
        "path_lengths": {"1": 60, "2": 20},
        "cat_bits": MECHANISMS,
        "dead_letters": {"clicks": {"user_id is null": 2}, "conversions": {}},
    }


def journeys() -> dict:
    clicks = [
        {
            "click_id": n,
            "timestamp": f"2023-11-15T0{n}:00:00+00:00",
            "touchpoint": ["top"],
            "label": {},
            "credit": {"first": float(n == 1), "last": float(n == 2), "linear": 0.5},
            "cvr": {"mal": 0.1, "base": None},
        }
        for n in (1, 2)
    ]
    conversion = {"conversion_id": "c", "timestamp": "2023-11-15T05:00:00+00:00", "value": 1.0, "credit": {}}
    return {
        "window_hours": 12.0,
        "mechanisms": MECHANISMS,
        "journeys": [{"user_id": "u1", "match_key": ["s1"], "clicks": clicks, "conversions": [conversion]}],
    }


def write(directory: pathlib.Path, config: dict = CONFIG) -> str:
    """Writes a finished run; returns its directory."""

    def put(path: str, content) -> None:
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    def stage(name: str, result=None) -> None:
        put(f"{name}/manifest.json", {"stage": name, "made_from": "x", "result": result, "files": []})

    put("config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
    put("run.json", {"git_revision": "abc", "git_changed": True, "python": "3.11", "packages": {"pyarrow": "10.0.1"}})
    put("labels/label_report.json", labels())
    put("evaluate/metrics.json", evaluation())
    put("journeys/journeys.json", journeys())
    for name in ("labels", "evaluate", "journeys"):
        stage(name)
    put("statistics/FeatureStats.pb", statistics())
    stage("statistics")
    put("validate/statistics.html", b"<html></html>")
    stage("validate", {"schema": "inferred", "examples": {"train": 400, "eval": 400}, "features": 2})
    for name in ("mal", "base"):
        put(
            f"train/{name}/training.json",
            {"examples": 400, "seconds": 2.0, "examples_per_second": 200, "parameters": 99},
        )
        network = {
            "name": name,
            "model": MODEL,
            "targets": MECHANISMS,
            "spec": {"features": FEATURES},
            "sizes": {"place": 5},
            "blocks": BLOCKS,
        }
        put(f"train/{name}/network.json", network)
        put(f"train/{name}/tensorboard/events.out.tfevents.1.host", events())
        stage(f"train/{name}")
        sizes = {"trained": {"parameters": 99, "ops": 50}, "served": {"parameters": 80, "ops": 40}}
        timed = {"predict_raw": {"rows": 32, "p50": 1.0, "p99": 2.0}}
        stage(f"export/{name}", {"version": 1, "largest_difference": 0.0, "latency_ms": timed, **sizes})
        put(f"serving/{name}/1/saved_model.pb", b"x" * 2000)
    curve = {"x": [-4.0, -2.0], "y": [-3.0, -2.5], "slope": 1.0}
    fitted = {"method": "isotonic", "before": {"pcoc": 0.5}, "after": {"pcoc": 1.0}, "overall": curve}
    put("calibrate/mal/calibration.json", fitted)
    stage("calibrate/mal")
    return str(directory)


def span(
    directory: pathlib.Path, reasons: tuple[str, ...] = (), anomalies: tuple[str, ...] = (), pushed: int = 0
) -> str:
    """Makes a finished run a span of a retraining, whose candidate was pushed, or refused for reasons or anomalies."""
    write(directory)
    (directory / "evaluate/manifest.json").unlink()
    plan = {"span": "2024-01-14", "judge": "2024-01-11", "base": "serving/3", "train": ["2024-01-10"], "logs": []}
    values = [("rows", 80.0, 40.0, 100.0), ("distance", 0.2, 0.0, 0.1), ("classes", 5, 5, 5)]
    found = [
        {"where": "logs", "feature": "clicks", "measure": name, "value": value, "low": low, "high": high}
        | {"anomalous": not low <= value <= high}
        for name, value, low, high in values
    ]
    whole = {
        "by": "",
        "name": "",
        "clicks": 400,
        "positives": 40,
        "metrics": {"candidate": {"auc": 0.7}, "blessed": {"auc": 0.72}},
        "losses": {"auc": {"difference": 0.02, "low": -0.01, "high": 0.05}},
    }
    part = whole | {"by": "place", "name": "top"}
    contents = {
        "plan.json": plan,
        "checks/measurements.json": found,
        "checks/manifest.json": {"result": {"anomalies": list(anomalies)}},
        "judge/judgement.json": {"all": whole, "slices": [part], "reasons": list(reasons), "notes": ["a note"]},
        "judge/manifest.json": {"result": {}},
        "bless/reason.json": {"reasons": list(reasons), "facts": {}},
        "bless/manifest.json": {"result": {}},
        "infra/manifest.json": {
            "result": {"reasons": [], "load_s": 1.0, "latency_ms": {"predict_raw": {"p50": 1, "p99": 2}}}
        },
    }
    if pushed:
        contents["pushed.json"] = {"version": pushed}
    for path, content in contents.items():
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_text(json.dumps(content))
    return str(directory)


def statistics() -> bytes:
    text = statistics_pb2.FeatureNameStatistics(name="place", type=statistics_pb2.FeatureNameStatistics.STRING)
    text.string_stats.unique = 3
    text.string_stats.common_stats.num_non_missing = 390
    text.string_stats.common_stats.num_missing = 10
    splits = [
        statistics_pb2.DatasetFeatureStatistics(name=f"Split-{name}", features=[text]) for name in ("train", "eval")
    ]
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=splits).SerializeToString(deterministic=True)


def anomaly(description: str) -> bytes:
    found = anomalies_pb2.Anomalies()
    info = found.anomaly_info["place"]
    info.short_description, info.description = "Unexpected values", description
    return found.SerializeToString(deterministic=True)


def events() -> bytes:
    """Means of losses, and sums for PCOC, up to steps 1, 2 and 4."""
    points = [(1, 0.8), (2, 0.6), (4, 0.4)]
    records = [Event(file_version="brain.Event:2")]
    for step, mean in points:
        values = [
            Summary.Value(tag=f"loss_{head}", tensor=TensorProto(dtype=1, float_val=[mean])) for head in ("last", "cat")
        ]
        sums = {"primary_predictions": 30.0 * step, "primary_labels": 25.0 * step}
        values += [Summary.Value(tag=tag, tensor=TensorProto(dtype=1, float_val=[x])) for tag, x in sums.items()]
        records.append(Event(step=step, summary=Summary(value=values)))
    return frame([record.SerializeToString(deterministic=True) for record in records])
