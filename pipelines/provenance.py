"""What made a run: the revision of the code, and the versions of what it rests on."""

import importlib.metadata
import pathlib
import platform
import subprocess


def provenance() -> dict:
    """Revision of the code, and versions of what it rests on."""

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
