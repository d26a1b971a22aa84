"""Checks the files of finished stages against their manifests: presence, size, SHA-256 hash and number of rows."""

import dataclasses
import posixpath
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import MalTfError
from pipelines.core import files, locks, manifest
from pipelines.core.layout import OF_NO_STAGE, PLANNED, RUN

#: Folders of a run whose files are of no finished stage. `serving` also holds exports of earlier trainings.
_CHECKPOINTS, _SERVING = "checkpoints", "serving"

_BATCH = 4096


@dataclasses.dataclass
class Checked:
    """What was checked in the directory of a stage, or of files that are of no stage.

    Attributes:
        name: the directory, relative to the one that `verify` was called with.
        files: number of files that the manifest lists.
        bytes: their size.
        hashed: number of those whose hash was compared; manifests of earlier versions have no hashes.
        problems: what differs, by path; the paths are relative, too.
        strays: paths of files that no manifest lists.
        note: what was not checked, and why.
    """

    name: str
    files: int = 0
    bytes: int = 0
    hashed: int = 0
    problems: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    strays: list[str] = dataclasses.field(default_factory=list)
    note: str = ""


def verify(directory: str) -> list[Checked]:
    """Checks all finished stages in a directory: of a run, of a single stage, of a retraining, or of a simulated market.

    Raises:
        MalTfError: there is no manifest of mal-tf's.
    """
    sizes = files.listing(directory)
    stages = sorted((posixpath.dirname(path) for path in sizes if _is_manifest(path)), key=len, reverse=True)
    manifests = {stage: manifest.content(posixpath.join(directory, stage)) for stage in stages}
    manifests = {stage: content for stage, content in manifests.items() if content is None or "made_from" in content}
    if not manifests:
        raise MalTfError(
            f"{directory}: expected the directory of a run or of a finished stage, found no {manifest.MANIFEST} of mal-tf's"
        )
    by_stage: dict[str | None, dict[str, int]] = {stage: {} for stage in [*manifests, None]}
    for path, size in sizes.items():
        by_stage[next((stage for stage in manifests if _within(path, stage)), None)][path] = size
    loose, checked = by_stage.pop(None), []
    for stage, content in sorted(manifests.items()):
        one = Checked(stage or ".")
        if content is None:
            one.problems.append((posixpath.join(stage, manifest.MANIFEST), "is empty or cut"))
        else:
            _check_stage(one, directory, stage, content, by_stage[stage], sizes)
            for path in _elsewhere(stage, content):
                loose.pop(path, None)
        checked.append(one)
    return [*checked, *_check_loose(loose, sizes, manifests)]


def differences(checked: list[Checked], strays: bool = True) -> list[str]:
    """All problems, as lines that begin with the path of a file; strays on request."""
    problems = [f"{path}: {problem}" for one in checked for path, problem in one.problems]
    alien = [f"{path}: is listed by no {manifest.MANIFEST}" for one in checked for path in one.strays]
    return problems + (alien if strays else [])


def _check_stage(
    one: Checked,
    directory: str,
    stage: str,
    content: dict,
    found: Mapping[str, int],
    sizes: Mapping[str, int],
) -> None:
    folder = stage if files.is_local(directory) else posixpath.join(stage, content.get(manifest.GENERATION, ""))
    listed = {posixpath.join(folder, entry["path"]): entry for entry in manifest.entries(content)}
    for path, entry in (listed | _elsewhere(stage, content)).items():
        one.files += 1
        one.bytes += entry["bytes"]
        one.hashed += "sha256" in entry
        size = sizes.get(path, _size(directory, path))
        one.problems += [(path, problem) for problem in _problems(posixpath.join(directory, path), entry, size)]
    own = {manifest.MANIFEST, manifest.MARK, locks.LOCK, PLANNED}
    one.strays += sorted(found.keys() - listed.keys() - {posixpath.join(stage, name) for name in own})
    if one.hashed < one.files:
        one.note = f"{one.files - one.hashed:,} files without a recorded sha256: size only"


def _problems(path: str, entry: Mapping, size: int | None) -> Iterator[str]:
    if size is None:
        yield "is missing"
        return
    if size != entry["bytes"]:
        yield f"expected {entry['bytes']:,} bytes, found {size:,}"
    if "sha256" in entry and files.sha256(path) != entry["sha256"]:
        yield "its content is another: sha256 differs"
    if "rows" in entry and (wrong := _wrong_rows(path, entry["rows"])):
        yield wrong


def _wrong_rows(path: str, rows: int) -> str:
    """What is wrong with the rows of a file, a Parquet file or TFRecords; empty if nothing is."""
    try:
        if path.endswith(".parquet"):
            with files.open_binary(path) as file:
                found = pq.read_metadata(file).num_rows
            return "" if found == rows else f"expected {rows:,} rows, found {found:,}"
        from pipelines.clicks import tfrecords  # It imports TensorFlow.

        for _ in tfrecords.read(path, _BATCH, rows):
            pass
    except (MalTfError, OSError, pa.ArrowException) as error:
        return str(error).removeprefix(path).lstrip(": ")
    return ""


def _elsewhere(stage: str, content: dict) -> dict[str, Mapping]:
    """Entries, by path, of files that a stage wrote outside of its directory, such as a SavedModel."""
    return {posixpath.normpath(posixpath.join(stage, entry["path"])): entry for entry in manifest.elsewhere(content)}


def _check_loose(loose: Mapping[str, int], sizes: Mapping[str, int], manifests: Mapping) -> Iterator[Checked]:
    """Yields what is to be said of files outside of all finished stages."""
    listed = {path for stage, content in manifests.items() if content for path in _elsewhere(stage, content)}
    versions = {posixpath.dirname(path) for path in listed if posixpath.basename(path) == "saved_model.pb"}
    unfinished = {posixpath.dirname(path) for path in sizes if posixpath.basename(path) == manifest.MARK}
    runs = sorted((posixpath.dirname(path) for path in sizes if posixpath.basename(path) == RUN), key=len)
    groups: dict[str, Checked] = {}
    for path in sorted(loose):
        run = next((run for run in reversed(runs) if _within(path, run)), None)
        name = posixpath.relpath(path, run or ".") if run is not None else path
        first = name.split("/")[0]
        if stage := next((stage for stage in unfinished if _within(path, stage)), None):
            groups.setdefault(stage, Checked(stage, note="unfinished: not checked"))
        elif version := next((version for version in versions if _within(path, version)), None):
            problem = (path, "is no file of this export")
            groups.setdefault(version, Checked(version, note="exported")).problems.append(problem)
        elif run is None or name in OF_NO_STAGE or first == _CHECKPOINTS or first.startswith("."):
            continue
        elif first == _SERVING:
            note = "exported earlier, listed by no manifest: not checked"
            version = posixpath.join(run, *name.split("/")[:3])
            groups.setdefault(version, Checked(version, note=note))
        else:
            groups.setdefault(run, Checked(run or ".", note="files of no stage")).strays.append(path)
    yield from groups.values()


def _is_manifest(path: str) -> bool:
    folders = path.split("/")[:-1]
    hidden = any(folder.startswith(".") or folder == _CHECKPOINTS for folder in folders)
    return posixpath.basename(path) == manifest.MANIFEST and not hidden


def _within(path: str, directory: str) -> bool:
    return not directory or path.startswith(f"{directory}/")


def _size(directory: str, path: str) -> int | None:
    whole = posixpath.normpath(posixpath.join(directory, path)) if files.is_local(directory) else f"{directory}/{path}"
    return files.size(whole) if files.exists(whole) else None
