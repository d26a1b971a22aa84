"""Provenance of a run, that is its config, the git revision of the code, and the versions of the main packages."""

import importlib.metadata
import pathlib
import platform
import subprocess
from typing import Any

import yaml

from features.frozen import Frozen
from pipelines.core import files
from pipelines.core.layout import CONFIG


def provenance() -> dict:
    """Returns the git revision of the code and the versions of Python and the main packages."""

    def git(*words: str) -> str | None:
        root = pathlib.Path(__file__).parent
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    packages = (
        "tensorflow",
        "tf-keras",
        "tensorflow-recommenders",
        "tensorflow-data-validation",
        "apache-beam",
        "pyarrow",
    )
    return {
        "git_revision": git("rev-parse", "HEAD"),
        "git_changed": bool(git("status", "--porcelain")),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def has_same_config(directory: str, config: Frozen, *keys: str) -> bool:
    """Whether the run in a directory has the same values of these config keys, not counting `files` and `fit_from`."""
    if not files.exists(path := f"{directory}/{CONFIG}"):
        return False
    previous, current = yaml.safe_load(files.read_text(path)), config.model_dump(mode="json")
    return all(_without_paths(previous.get(key)) == _without_paths(current[key]) for key in keys)


def _without_paths(part: Any) -> Any:
    """Removes the keys that differ between runs of one schedule: input files, and the fit to start from."""
    if isinstance(part, dict):
        return {key: _without_paths(value) for key, value in part.items() if key not in ("files", "fit_from")}
    return part
