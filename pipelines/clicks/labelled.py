"""A finished label job's output, as the later stages read it: by its manifest, never by a glob."""

import dataclasses

from apache_beam.io.filesystems import FileSystems

from features import vocabulary
from features.errors import MalTfError
from features.spec import FeatureSpec
from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.training.split import Split
from pipelines.core import files, manifest


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Splits and vocabularies.

    Attributes:
        directory: of the label job's output.
        splits: `train` and `eval`.
        vocabularies: lines of each vocabulary file, by feature.
        made_from: the label job's fingerprint.
    """

    directory: str
    splits: dict[str, Split]
    vocabularies: dict[str, list[str]]
    made_from: str


def read_manifest(directory: str) -> dict:
    """A label job's manifest.

    Raises:
        MalTfError: it did not finish, or this is no label job's directory.
    """
    within = FileSystems.join(directory, "labels")
    of_run = files.exists(FileSystems.join(within, manifest.MANIFEST))
    if of_run and not files.exists(FileSystems.join(directory, manifest.MANIFEST)):
        raise MalTfError(f"{directory}: expected a finished label job, found a run; did you mean {within}?")
    return manifest.read(directory, "a finished label job")


def load(directory: str, spec: FeatureSpec) -> Labelled:
    """Reads the manifest and the vocabularies.

    Raises:
        MalTfError: the label job did not finish, was run for other features, or a file is not as it was written.
    """
    found = read_manifest(directory)
    splits = {}
    for split in ("train", "eval"):
        entries = [entry for entry in found["files"] if entry["split"] == split]
        for entry in entries:
            path = FileSystems.join(directory, entry["path"])
            if not files.exists(path) or files.size(path) != entry["bytes"]:
                raise MalTfError(
                    f"{path}: expected {entry['bytes']:,} bytes, the file was lost or changed; run `labels` again"
                )
        segments = sorted({entry["segment"] for entry in entries})
        by_segment = [[entry for entry in entries if entry["segment"] == segment] for segment in segments]
        splits[split] = Split(
            [[FileSystems.join(directory, entry["path"]) for entry in segment] for segment in by_segment],
            [[entry["rows"] for entry in segment] for segment in by_segment],
            _label_counts(by_segment),
        )
    vocabularies = {}
    for feature in spec.with_vocabulary:
        path = FileSystems.join(directory, "vocabulary", f"{feature.name}.txt")
        if not files.exists(path):
            raise MalTfError(f"{path} is missing: the label job was run for other features; run `labels` again")
        vocabularies[feature.name] = vocabulary.read(files.read_text(path))
    return Labelled(directory, splits, vocabularies, found["made_from"])


def _label_counts(by_segment: list[list[dict]]) -> list[list[LabelCounts]]:
    """Counts of the labels in each file; none at all where an earlier version of the label job wrote some of them."""
    if not all("labels" in entry for segment in by_segment for entry in segment):
        return []
    return [[LabelCounts.from_json(entry["labels"]) for entry in segment] for segment in by_segment]
