"""Section on provenance: the config, code revision, package versions, days of data, and seed of the run."""

from collections.abc import Mapping
from typing import Any

from pipelines.core.text_table import Table
from pipelines.report import text
from pipelines.report.parts import Code, Numbers, Part
from pipelines.report.run_files import RunFiles


def parts(run: RunFiles) -> list[Part]:
    """Build the section."""
    config, environment = run.config, run.json("run.json")
    attribution, model = config.get("attribution") or {}, config.get("model") or {}
    mechanisms = [f"{one['name']} ({one['type']})" for one in attribution.get("mechanisms", [])]
    window = attribution.get("window_hours")
    rows = {
        "config": str(config.get("name", text.DASH)),
        "served model": model.get("name"),
        "compared with": ", ".join(model.get("compare_with") or []) or "nothing",
        "primary target": model.get("primary"),
        "mechanisms": ", ".join(mechanisms),
        "window": f"{window:g} h" if window else None,
        "features": _features(config.get("features", [])),
        "source": (config.get("sources") or {}).get("adapter"),
        **_days(run, config.get("labels") or {}),
        "seed": config.get("seed"),
        "code": _revision(environment),
        "Python": environment.get("python"),
    }
    rows |= {f"package {name}": version for name, version in environment.get("packages", {}).items()}
    shown = [[name, str(value)] for name, value in rows.items() if value is not None]
    return [
        Numbers(Table("What was run", ["setting", "value"], shown), "config.yaml, run.json"),
        Code("The whole config, as it was resolved", run.text("config.yaml"), "config.yaml"),
    ]


def _features(features: list[Mapping[str, Any]]) -> str:
    kinds = [feature.get("type", "?") for feature in features]
    return f"{len(kinds)}: " + ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _days(run: RunFiles, labels: Mapping[str, Any]) -> dict[str, str | None]:
    if plan := run.plan:
        days = f"{plan['train'][0]} to {plan['train'][-1]} ({len(plan['train'])} days)" if plan["train"] else "no day"
        return {
            "span": plan["span"],
            "trained on": days,
            "judged on": plan["judge"],
            "started from": plan["base"] or "nothing",
        }
    return {
        "trained on": f"clicks from {labels['train_from']}" if labels.get("train_from") else None,
        "evaluated on": f"clicks from {labels['eval_from']}" if labels.get("eval_from") else None,
        "logs complete up to": labels.get("observed_until") or labels.get("observed_before"),
    }


def _revision(environment: Mapping[str, Any]) -> str:
    changed = ", with changes that are not committed" if environment.get("git_changed") else ""
    return f"revision {environment.get('git_revision') or 'unknown'}{changed}"
