"""Which finished stages of a run are of an earlier config or of earlier inputs than what lies beside them."""

import json
import pathlib
from typing import Any

from pipelines.core import files, manifest
from pipelines.core.layout import CONFIG, STAGES

#: Folder of evaluations on request, which stay as they are when the config changes.
_ON_REQUEST = "evaluations"


def confirm(directory: str, stage: str) -> None:
    """Records that a stage is of the config that lies in the run's directory; nothing if there is none."""
    if not files.exists(config := f"{directory}/{CONFIG}"):
        return
    confirmed = _confirmed(pathlib.Path(directory)) | {stage: files.sha256(config)}
    files.write_text(f"{directory}/{STAGES}", json.dumps(confirmed, indent=1, sort_keys=True) + "\n")


def outdated(directory: str) -> dict[str, str]:
    """Returns the reason why a stage is outdated, by the name of the stage, in the order of the names.

    What earlier versions of mal-tf wrote can't be judged, and is not returned.

    Args:
        directory: local directory of a run.
    """
    root, reasons = pathlib.Path(directory), {}
    if not (root / STAGES).is_file() or not (root / CONFIG).is_file():
        return {}
    manifests = _manifests(root)
    confirmed, config = _confirmed(root), files.sha256(str(root / CONFIG))
    for stage, content in sorted(manifests.items()):
        earlier = [
            name for name, made in content.get(manifest.AFTER, {}).items() if _changed(manifests.get(name), made)
        ]
        if earlier:
            reasons[stage] = f"made from earlier {' and '.join(earlier)}"
        elif confirmed.get(stage, config) != config:
            reasons[stage] = "last made or confirmed with an earlier config"
    before: set[str] = set()
    while before != reasons.keys():
        before = set(reasons)
        for stage, content in manifests.items():
            if stale := [name for name in content.get(manifest.AFTER, {}) if name in before]:
                reasons.setdefault(stage, f"made from {' and '.join(stale)}, outdated too")
    return dict(sorted(reasons.items()))


def _changed(content: dict[str, Any] | None, made: str) -> bool:
    return content is not None and manifest.digest(content) != made


def _manifests(root: pathlib.Path) -> dict[str, dict[str, Any]]:
    """The manifests of the stages that a report shows, by stage."""
    found = {}
    for path in (*root.glob(f"*/{manifest.MANIFEST}"), *root.glob(f"*/*/{manifest.MANIFEST}")):
        stage = path.parent.relative_to(root).as_posix()
        if not stage.startswith((".", f"{_ON_REQUEST}/")) and (content := manifest.content(str(path.parent))):
            found[stage] = content
    return found


def _confirmed(root: pathlib.Path) -> dict[str, str]:
    path = root / STAGES
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError:  # Cut by a machine that stopped.
        return {}
    return found if isinstance(found, dict) else {}
