"""A finished label job's output, read by its manifest: splits, vocabularies, and the clicks by column or with their scores."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from features import vocabulary
from features.errors import MalTfError
from features.feature import MISSING
from features.keras2 import tf
from features.spec import FeatureSpec
from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.serving.export import OUTPUT
from mal_tf.serving.exports import Exports
from mal_tf.training.dataset import serialized
from mal_tf.training.split import Split
from pipelines.core import files, manifest
from pipelines.labels import label_columns

#: Clicks parsed at a time.
_BATCH = 8192

#: Serialized tf.Examples, string [clicks], to further columns by name, [clicks] each.
Compute = Callable[[tf.Tensor], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class LabelledClicks:
    """Clicks in files of a label job, always in the order in which training reads them.

    Attributes:
        segments: files of each segment, see `mal_tf.training.dataset.serialized`.
        types: of each column by name, see `pipelines.labels.label_columns`.
        place: where the clicks are, for errors.
    """

    segments: Sequence[Sequence[str]]
    types: Mapping[str, str]
    place: str

    def read(self, columns: Sequence[str], size: int = _BATCH, compute: Compute | None = None) -> Iterator[pa.Table]:
        """Streams columns of the clicks.

        A missing value of a feature is `features.parsing.MISSING`.

        Args:
            columns: names; of one value per click.
            size: clicks of a batch.
            compute: makes more columns of a batch's tf.Examples.

        Yields:
            Batches; of no clicks at all, one without rows.

        Raises:
            MalTfError: there is no such column, or a file is damaged.
        """
        parsing = self._parsing(columns)
        for examples, parsed in self._parsed(parsing, size):
            arrays = {name: _arrow(parsed[name].numpy(), self.types[name]) for name in columns}
            computed = compute(examples) if compute else {}
            yield pa.table(arrays | {name: pa.array(values) for name, values in computed.items()})

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """The columns of all clicks at once, see `read`."""
        return pa.concat_tables(self.read(columns)).to_pandas()

    def score(self, exports: Exports, columns: Sequence[str] = (), size: int = _BATCH) -> Iterator[pa.Table]:
        """As `read`, with the predictions of each exported model in a column `cvr_<model>`.

        Raises:
            MalTfError: see `read`, or a model fails.
        """

        def predictions(examples: tf.Tensor) -> dict[str, np.ndarray]:
            return {f"{OUTPUT}_{name}": cvr for name, cvr in exports.predict(examples, self.place).items()}

        return self.read(columns, size, predictions)

    def head(self, count: int) -> tf.Tensor:
        """The first clicks: string [≤ count], serialized tf.Examples."""
        return next(self._examples(count))

    def last(self, segments: int) -> "LabelledClicks":
        """The clicks of the last segments."""
        return dataclasses.replace(self, segments=self.segments[-segments:])

    def by_segment(self) -> Iterator["LabelledClicks"]:
        """The clicks of each segment."""
        return (dataclasses.replace(self, segments=[files]) for files in self.segments)

    def of_file(self, path: str) -> "LabelledClicks":
        """The clicks of one of the files."""
        return dataclasses.replace(self, segments=[[path]], place=path)

    def check(self, columns: Sequence[str]) -> None:
        """Checks that the clicks have some columns of one value each.

        Raises:
            MalTfError: they lack one.
        """
        single = [name for name, dtype in self.types.items() if dtype in MISSING]
        if absent := [name for name in columns if name not in single]:
            label = absent[0].startswith("label_")
            others = sorted(name for name in single if name.startswith("label_") or not label)
            raise MalTfError(
                f"{self.place}: expected {absent[0]} as the config has it; found: {', '.join(others)}; run `labels` with this "
                "config, or choose other labels"
            )

    def check_exports(self, exports: Exports) -> None:
        """Holds exported models to the features of the clicks, see `Exports.check_features`."""
        exports.check_features([name for name in self.types if label_columns.may_be_missing(name)], self.place)

    def _parsing(self, columns: Sequence[str]) -> dict[str, tf.io.FixedLenFeature]:
        self.check(columns)
        parsing = {}
        for name in columns:
            dtype = self.types[name]
            default = MISSING[dtype] if label_columns.may_be_missing(name) else None
            parsing[name] = tf.io.FixedLenFeature([], tf.as_dtype(dtype), default)
        return parsing

    def _parsed(
        self, parsing: Mapping[str, tf.io.FixedLenFeature], size: int
    ) -> Iterator[tuple[tf.Tensor, dict[str, tf.Tensor]]]:
        try:
            for examples in self._examples(size):
                yield examples, tf.io.parse_example(examples, parsing) if parsing else {}
        except tf.errors.OpError as error:
            raise MalTfError(
                f"{self.place} can't be read as labelled tf.Examples: {error.message}; run `labels` again"
            ) from error

    def _examples(self, size: int) -> Iterator[tf.Tensor]:
        empty = True
        for examples in serialized(self.segments, size).prefetch(1):
            empty = False
            yield examples
        if empty:
            yield tf.constant([], tf.string)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Splits and vocabularies.

    Attributes:
        directory: of the label job's output.
        splits: `train` and `eval`.
        vocabularies: lines of each vocabulary file, by feature.
        made_from: the label job's fingerprint.
        types: of each column of the clicks by name, see `pipelines.labels.label_columns`.
    """

    directory: str
    splits: dict[str, Split]
    vocabularies: dict[str, list[str]]
    made_from: str
    types: Mapping[str, str]

    def clicks(self, split: str) -> LabelledClicks:
        """The clicks of a split."""
        return self.clicks_in(self.splits[split])

    def clicks_in(self, part: Split) -> LabelledClicks:
        """The clicks in some files of the label job."""
        return LabelledClicks(part.segments, self.types, self.directory)


def read_manifest(directory: str) -> dict:
    """A label job's manifest.

    Raises:
        MalTfError: it did not finish, or this is no label job's directory.
    """
    within = FileSystems.join(directory, "labels")
    is_run = files.exists(FileSystems.join(within, manifest.MANIFEST))
    if is_run and not files.exists(FileSystems.join(directory, manifest.MANIFEST)):
        raise MalTfError(f"{directory}: expected a finished label job, found a run; did you mean {within}?")
    return manifest.read(directory, "a finished label job")


def load(directory: str, spec: FeatureSpec) -> Labelled:
    """Reads the manifest and the vocabularies.

    Raises:
        MalTfError: the label job did not finish, was run for other features, or a file is not as it was written.
    """
    stated = read_manifest(directory)
    splits = {split: _split(directory, stated, split) for split in ("train", "eval")}
    vocabularies = {}
    for feature in spec.with_vocabulary:
        path = FileSystems.join(directory, "vocabulary", f"{feature.name}.txt")
        if not files.exists(path):
            raise MalTfError(f"{path} is missing: the label job was run for other features; run `labels` again")
        vocabularies[feature.name] = vocabulary.read(files.read_text(path))
    columns = stated.get("columns") or _unstated_columns(splits.values(), spec, stated["mechanisms"])
    return Labelled(directory, splits, vocabularies, stated["made_from"], _types(columns))


def load_clicks(directory: str) -> LabelledClicks:
    """All clicks of a label job, those of the training split first.

    Raises:
        MalTfError: the label job did not finish, a file is not as it was written, or the manifest does not state the columns.
    """
    stated = read_manifest(directory)
    if "columns" not in stated:
        raise MalTfError(
            f"{directory}/{manifest.MANIFEST}: expected `columns`, found none: an earlier version wrote it; run `labels` again"
        )
    both = Split.joined(*(_split(directory, stated, split) for split in ("train", "eval")))
    return LabelledClicks(both.segments, _types(stated["columns"]), directory)


def click_id_type(examples: Iterable[bytes]) -> str:
    """The type of click ids, `string` or `int64`, where no manifest states it: that of the first id there is.

    That is so of label directories of earlier versions, whose manifests have no `columns`, and of tf.Examples that the label
    job did not write.
    """
    for example in examples:
        kind = tf.train.Example.FromString(example).features.feature["click_id"].WhichOneof("kind")
        if kind:
            return label_columns.INT64 if kind == "int64_list" else label_columns.STRING
    return label_columns.STRING


def _types(columns: Iterable[label_columns.Column]) -> dict[str, str]:
    return {column["name"]: column["type"] for column in columns}


def _split(directory: str, stated: Mapping[str, Any], name: str) -> Split:
    """The files of a split, as the manifest lists them."""
    entries = [entry for entry in stated["files"] if entry["split"] == name]
    for entry in entries:
        path = FileSystems.join(directory, entry["path"])
        if not files.exists(path) or files.size(path) != entry["bytes"]:
            raise MalTfError(
                f"{path}: expected {entry['bytes']:,} bytes, the file was lost or changed; run `labels` again"
            )
    segments = sorted({entry["segment"] for entry in entries})
    by_segment = [[entry for entry in entries if entry["segment"] == segment] for segment in segments]
    return Split(
        [[FileSystems.join(directory, entry["path"]) for entry in segment] for segment in by_segment],
        [[entry["rows"] for entry in segment] for segment in by_segment],
        _label_counts(by_segment),
    )


def _unstated_columns(
    splits: Iterable[Split], spec: FeatureSpec, mechanisms: Sequence[str]
) -> list[label_columns.Column]:
    segments = list(itertools.chain.from_iterable(split.segments for split in splits))
    first = (examples.numpy()[0] for examples in serialized(segments, 1).take(1))
    return [label_columns.click_id(click_id_type(first)), *label_columns.others(spec, mechanisms)]


def _label_counts(by_segment: list[list[dict]]) -> list[list[LabelCounts]]:
    """Counts of the labels in each file; none at all where an earlier version of the label job wrote some of them."""
    if not all("labels" in entry for segment in by_segment for entry in segment):
        return []
    return [[LabelCounts.from_json(entry["labels"]) for entry in segment] for segment in by_segment]


def _arrow(values: np.ndarray, dtype: str) -> pa.Array:
    return pa.array(values, pa.binary()).cast(pa.string()) if dtype == label_columns.STRING else pa.array(values)
