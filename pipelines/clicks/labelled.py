"""Reading the output of a finished label job: splits, vocabularies, and columns of the labelled clicks."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic

from features import vocabulary
from features.errors import MalTfError
from features.feature import MISSING
from features.keras2 import tf
from features.spec import FeatureSpec
from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.serving import OUTPUT
from mal_tf.serving.exports import Exports
from mal_tf.training.dataset import serialized, wrong_rows
from mal_tf.training.split import Split
from pipelines.core import files, manifest
from pipelines.labels import label_columns

#: Number of clicks parsed at a time.
_BATCH = 8192

#: Maps serialized tf.Examples, string [clicks], to further columns by name, each of shape [clicks].
Compute = Callable[[tf.Tensor], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class LabelledClicks:
    """Clicks in files of a label job, read in the same order as in training.

    Attributes:
        split: the files; see `mal_tf.training.dataset.serialized`.
        types: type of each column by name; see `pipelines.labels.label_columns`.
        place: directory or file of the clicks, for error messages.
    """

    split: Split
    types: Mapping[str, str]
    place: str

    @property
    def segments(self) -> Sequence[Sequence[str]]:
        """Files of each segment."""
        return self.split.segments

    def read(self, columns: Sequence[str], size: int = _BATCH, compute: Compute | None = None) -> Iterator[pa.Table]:
        """Reads columns of the clicks in batches.

        A missing value of a feature is read as `features.feature.MISSING` of its type.

        Args:
            columns: names of columns with one value per click.
            size: number of clicks in a batch.
            compute: computes further columns from the tf.Examples of a batch.

        Yields:
            Batches; if there are no clicks, one batch without rows.

        Raises:
            MalTfError: a column does not exist, or a file is damaged, or has not as many clicks as it should.
        """
        parsing = self._parsing(columns)
        for examples, parsed in self._parsed(parsing, size):
            arrays = {name: _arrow(parsed[name].numpy(), self.types[name]) for name in columns}
            computed = compute(examples) if compute else {}
            yield pa.table(arrays | {name: pa.array(values) for name, values in computed.items()})

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """Reads columns of all clicks at once; see `read`."""
        return pa.concat_tables(self.read(columns)).to_pandas()

    def score(self, exports: Exports, columns: Sequence[str] = (), size: int = _BATCH) -> Iterator[pa.Table]:
        """Reads columns as `read` does and adds the predictions of each exported model as `cvr_<model>`.

        Raises:
            MalTfError: see `read`; or a model fails.
        """

        def predictions(examples: tf.Tensor) -> dict[str, np.ndarray]:
            return {f"{OUTPUT}_{name}": cvr for name, cvr in exports.predict(examples, self.place).items()}

        return self.read(columns, size, predictions)

    def head(self, count: int) -> tf.Tensor:
        """Returns the first clicks as serialized tf.Examples, string [≤ count]."""
        return next(self._examples(count))

    def last(self, segments: int) -> "LabelledClicks":
        """Returns the clicks of the last `segments` segments."""
        return self._of(self.split.chosen(range(len(self.segments))[-segments:]))

    def by_segment(self) -> Iterator["LabelledClicks"]:
        """Yields the clicks of each segment."""
        return (self._of(self.split.chosen([place])) for place in range(len(self.segments)))

    def in_file(self, path: str, rows: int) -> "LabelledClicks":
        """Returns the clicks of one file with so many rows."""
        return dataclasses.replace(self, split=Split([[path]], [[rows]]), place=path)

    def _of(self, split: Split) -> "LabelledClicks":
        return dataclasses.replace(self, split=split)

    def check(self, columns: Sequence[str]) -> None:
        """Checks that the clicks have these columns, with one value per click.

        Raises:
            MalTfError: a column is missing.
        """
        single = [name for name, dtype in self.types.items() if dtype in MISSING]
        if absent := [name for name in columns if name not in single]:
            label = absent[0].startswith("label_")
            others = sorted(name for name in single if name.startswith("label_") or not label)
            raise MalTfError(
                f"{self.place}: expected column {absent[0]} of the config, found: {', '.join(others)}; run `labels` with this "
                "config, or choose other labels"
            )

    def check_exports(self, exports: Exports) -> None:
        """Checks that the clicks have all features of the exported models; see `Exports.check_features`."""
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
        except tf.errors.FailedPreconditionError as error:
            if not (wrong := wrong_rows(self.split)):
                raise
            raise MalTfError("{}: expected {:,} clicks, found {:,}; run `labels` again".format(*wrong)) from error
        except tf.errors.OpError as error:
            raise MalTfError(
                f"{self.place} can't be read as labelled tf.Examples: {error.message}; run `labels` again"
            ) from error

    def _examples(self, size: int) -> Iterator[tf.Tensor]:
        empty = True
        for examples in serialized(self.split, size).prefetch(1):
            empty = False
            yield examples
        if empty:
            yield tf.constant([], tf.string)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The output of a finished label job.

    Attributes:
        directory: output directory of the label job.
        splits: files of the splits `train` and `eval`.
        vocabularies: lines of each vocabulary file, by feature.
        made_from: fingerprint of the label job's inputs.
        types: type of each column of the clicks by name; see `pipelines.labels.label_columns`.
    """

    directory: str
    splits: dict[str, Split]
    vocabularies: dict[str, list[str]]
    made_from: str
    types: Mapping[str, str]

    def clicks(self, split: str) -> LabelledClicks:
        """Returns the clicks of a split, `train` or `eval`."""
        return self.clicks_in(self.splits[split])

    def clicks_in(self, part: Split) -> LabelledClicks:
        """Returns the clicks in a part of a split."""
        return LabelledClicks(part, self.types, self.directory)


def read_manifest(directory: str) -> dict:
    """Reads the manifest of a label job.

    Raises:
        MalTfError: the job did not finish, or `directory` is not the output of a label job.
    """
    labels = files.join(directory, "labels")
    is_run = files.exists(files.join(labels, manifest.MANIFEST))
    if is_run and not files.exists(files.join(directory, manifest.MANIFEST)):
        raise MalTfError(f"{directory}: expected a finished label job, found a run; did you mean {labels}?")
    contents = manifest.read(directory, "a finished label job")
    try:
        _Manifest.model_validate(contents, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise MalTfError(
            f"{directory}/{manifest.MANIFEST}: expected that of a label job, found `{place}`: {first['msg']}; it is of another "
            "stage or was edited. Choose the directory of a label job, or run `labels` again"
        ) from error
    return contents


class _File(pydantic.BaseModel):
    """What is read of a file's entry."""

    path: str
    split: Literal["train", "eval"]
    segment: int
    rows: pydantic.NonNegativeInt
    bytes: pydantic.NonNegativeInt
    labels: dict = {}


class _Manifest(pydantic.BaseModel):
    """What is read of a label job's manifest."""

    files: list[_File]
    mechanisms: list[str] = []
    columns: list[dict[str, str]] | None = None


def load(directory: str, spec: FeatureSpec) -> Labelled:
    """Reads the manifest and the vocabularies of a label job.

    Raises:
        MalTfError: the job did not finish, was run for other features, or a file was changed or deleted since.
    """
    contents = read_manifest(directory)
    place = manifest.place(directory, contents)
    splits = {split: _split(place, contents, split) for split in ("train", "eval")}
    vocabularies = {}
    for feature in spec.with_vocabulary:
        path = files.join(place, "vocabulary", f"{feature.name}.txt")
        if not files.exists(path):
            raise MalTfError(f"{path} is missing: the label job was run for other features; run `labels` again")
        manifest.check_file(directory, f"vocabulary/{feature.name}.txt")
        vocabularies[feature.name] = vocabulary.read(files.read_text(path))
    columns = contents.get("columns") or _infer_columns(splits.values(), spec, contents.get("mechanisms", []))
    return Labelled(directory, splits, vocabularies, contents["made_from"], _types(columns))


def load_clicks(directory: str) -> LabelledClicks:
    """Returns all clicks of a label job, those of the training split first.

    Raises:
        MalTfError: the job did not finish, a file was changed or deleted since, or the manifest does not list the columns.
    """
    contents = read_manifest(directory)
    if "columns" not in contents:
        raise MalTfError(
            f"{directory}/{manifest.MANIFEST}: expected `columns`, found none: written by an earlier version; run `labels` again"
        )
    place = manifest.place(directory, contents)
    both = Split.joined(*(_split(place, contents, split) for split in ("train", "eval")))
    return LabelledClicks(both, _types(contents["columns"]), directory)


def click_id_type(examples: Iterable[bytes]) -> str:
    """Infers the type of click ids, `string` or `int64`, from the first id in serialized tf.Examples.

    Needed where no manifest states it: for label jobs of earlier versions, whose manifests have no `columns`, and for
    tf.Examples that were not written by the label job.
    """
    for example in examples:
        kind = tf.train.Example.FromString(example).features.feature["click_id"].WhichOneof("kind")
        if kind:
            return label_columns.INT64 if kind == "int64_list" else label_columns.STRING
    return label_columns.STRING


def _types(columns: Iterable[label_columns.Column]) -> dict[str, str]:
    return {column["name"]: column["type"] for column in columns}


def _split(directory: str, contents: Mapping[str, Any], name: str) -> Split:
    """Returns the files of a split as listed in the manifest."""
    entries = [entry for entry in contents["files"] if entry["split"] == name]
    # One request instead of two for each file.
    listed = None if files.is_local(directory) else files.listing(directory)
    for entry in entries:
        path = files.join(directory, entry["path"])
        found = listed.get(entry["path"]) if listed is not None else files.size(path) if files.exists(path) else None
        if found != entry["bytes"]:
            raise MalTfError(
                f"{path}: expected a file of {entry['bytes']:,} bytes, but it was deleted or changed; run `labels` again"
            )
    segments = sorted({entry["segment"] for entry in entries})
    by_segment = [[entry for entry in entries if entry["segment"] == segment] for segment in segments]
    return Split(
        [[files.join(directory, entry["path"]) for entry in segment] for segment in by_segment],
        [[entry["rows"] for entry in segment] for segment in by_segment],
        _label_counts(by_segment),
    )


def _infer_columns(splits: Iterable[Split], spec: FeatureSpec, mechanisms: Sequence[str]) -> list[label_columns.Column]:
    """Infers the columns of labels whose manifest, of an earlier version, does not list them."""
    first = (examples.numpy()[0] for examples in serialized(Split.joined(*splits), 1).take(1))
    return [label_columns.click_id(click_id_type(first)), *label_columns.others(spec, mechanisms)]


def _label_counts(by_segment: list[list[dict]]) -> list[list[LabelCounts]]:
    """Returns the counts of labels in each file; empty if an earlier version, which did not count, wrote any of the files."""
    if not all("labels" in entry for segment in by_segment for entry in segment):
        return []
    return [[LabelCounts.from_json(entry["labels"]) for entry in segment] for segment in by_segment]


def _arrow(values: np.ndarray, dtype: str) -> pa.Array:
    return pa.array(values, pa.binary()).cast(pa.string()) if dtype == label_columns.STRING else pa.array(values)
