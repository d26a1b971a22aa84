"""Provenance of a run: its config, the git revision, and the versions of the packages."""

import importlib.metadata
import pathlib
import platform
import subprocess
from typing import Any

import yaml

from features.frozen import Frozen
from pipelines.core import files

#: In a run's directory, its config, and the error that the last command on it ended with.
CONFIG, FAILED = "config.yaml", "failed.txt"


def provenance() -> dict:
    """Git revision of the code, and versions of Python and the main packages."""

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


def had_config(directory: str, config: Frozen, *keys: str) -> bool:
    """Whether the run in a directory had the same values of these config keys, file names and `fit_from` aside."""
    if not files.exists(path := f"{directory}/{CONFIG}"):
        return False
    then, now = yaml.safe_load(files.read_text(path)), config.model_dump(mode="json")
    return all(_lasting(then.get(key)) == _lasting(now[key]) for key in keys)


def _lasting(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _lasting(value) for key, value in part.items() if key not in ("files", "fit_from")}
    return part
