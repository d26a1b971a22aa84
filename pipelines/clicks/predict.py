"""Scoring clicks in tables or TFRecord files with a SavedModel, for `mal-tf predict`."""

import contextlib
import logging
import os
import pathlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from features.errors import MalTfError
from features.feature import MISSING
from features.keras2 import tf
from features.raw_columns import as_feature_text, as_flat_lists, as_identifier, as_numbers, as_whole_numbers
from mal_tf.serving import OUTPUT
from mal_tf.serving.exports import load
from mal_tf.serving.inputs import check_examples
from mal_tf.serving.versions import numbered
from pipelines.clicks import tfrecords
from pipelines.clicks.labelled import click_id_type
from pipelines.clicks.scoring import check_finite
from pipelines.core import cache, files, manifest
from pipelines.labels.sources import lake, tables
from pipelines.labels.sources.formats import Cells
from pipelines.labels.sources.reader import column_names, read_file

#: Clicks that are scored at a time, and those that are written at a time.
_BATCH, _WRITTEN = 4096, 65_536
_SAVED_MODEL = "saved_model.pb"
_TFRECORD = (".tfrecord", ".tfrecord.gz", ".gz")

#: What values of each dtype are.
_KINDS = {"string": "text", "int64": "whole numbers", "float32": "numbers"}

log = logging.getLogger("mal_tf.predict")


def predict(
    model_directory: str, path: str, output: str, id_column: str = "", null_values: Sequence[str] | None = None
) -> int:
    """Scores all clicks of a file, batch by batch, and writes the predictions in the same order.

    Args:
        model_directory: directory of a SavedModel, or of its versions, of which the newest is used. This and the files may be
            on any filesystem that Beam supports.
        path: a file of a format of the label job's sources, the folder of a Delta or Iceberg table, or TFRecords of tf.Examples
            (`.tfrecord`, `.gz`).
        output: `.csv` or `.parquet` file to write, with the id column if the input has it, and `cvr`.
        id_column: id column to copy from a table; by default `click_id`, if the table has it.
        null_values: words for null in a table, as in `null_values` of the config's click table; by default those of CSV files.

    Returns:
        The number of clicks scored.

    Raises:
        MalTfError: the model or file does not exist, columns of the model are missing or have the wrong type, or a prediction
            is not finite.
    """
    if not output.endswith((".csv", ".parquet")):
        raise MalTfError(f"{output}: expected an output ending in .csv or .parquet")
    if files.is_local(output) and not pathlib.Path(output).absolute().parent.is_dir():
        raise MalTfError(f"{output}: its directory does not exist")
    is_table = tables.is_table(path)
    is_lake = not is_table and lake.newest(path) is not None
    if not is_lake and not files.exists(path):
        raise MalTfError(f"{path}: no such file")
    files.check_apart(output, [path])
    if os.path.isdir(output):
        raise MalTfError(f"{output}: expected a file to write, found a directory")
    if files.is_local(output) and manifest.entry_of(output):
        raise MalTfError(f"{output}: expected a new file, found one of a finished stage; choose another output")
    saved_model = find_saved_model(model_directory)
    files.check_apart(output, [saved_model])
    is_table = is_table or is_lake
    signatures = load(cache.directory(saved_model), signature="predict_raw" if is_table else "serving_default")
    listed = manifest.rows_of(path) if files.is_local(path) else None
    if (id_column not in ("", "click_id") or null_values) and not is_table:
        raise MalTfError(
            f"{path}: expected a table such as .csv or .parquet with --id or --null-value; the id of tf.Examples is click_id"
        )
    scored = (
        _from_table(signatures, path, id_column, null_values) if is_table else _from_tfrecord(signatures, path, listed)
    )
    rows, began = 0, time.monotonic()
    writer: Any = None  # A writer of pyarrow, which is untyped.
    with files.created(output) as file, contextlib.ExitStack() as stack:
        for table in _gathered(scored):
            if writer is None:
                kind = pq.ParquetWriter if output.endswith(".parquet") else pyarrow.csv.CSVWriter
                writer = stack.enter_context(kind(file, table.schema))
            place = f"{path}, clicks {rows + 1:,} to {rows + table.num_rows:,}"
            check_finite(table[OUTPUT].to_numpy(), saved_model, place)
            writer.write_table(table)
            rows += table.num_rows
        if listed not in (None, rows):
            raise MalTfError(
                f"{path}: expected {listed:,} rows, as its manifest says, found {rows:,}; it was cut or changed"
            )
    log.info("%s clicks scored, %s clicks/s, in %s", f"{rows:,}", f"{rows / (time.monotonic() - began):,.0f}", output)
    return rows


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Joins small tables, as each becomes a row group of Parquet."""
    parts: list[pa.Table] = []
    rows = 0
    for table in tables:
        parts, rows = [*parts, table], rows + table.num_rows
        if rows >= _WRITTEN:
            yield pa.concat_tables(parts).combine_chunks()
            parts, rows = [], 0
    if parts:
        yield pa.concat_tables(parts).combine_chunks()


def find_saved_model(directory: str) -> str:
    """Returns the directory of a SavedModel: the one given, or the newest version in it.

    Raises:
        MalTfError: the directory is neither a SavedModel nor a directory of versions.
    """
    if not files.is_local(directory):
        return _find_remote(directory)
    path = pathlib.Path(directory)
    if (path / _SAVED_MODEL).exists():
        return directory
    entries = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
    versions = {number: found for number, found in numbered(directory) if found.is_dir()}
    if not versions:
        found = ", ".join(entries) or (
            "an empty directory" if path.is_dir() else "a file" if path.exists() else "nothing"
        )
        raise MalTfError(
            f"{directory}: expected a SavedModel or a directory of versions such as serving/<model>, found {found}"
        )
    return str(versions[max(versions)])


def _find_remote(directory: str) -> str:
    found = files.listing(directory)
    if _SAVED_MODEL in found:
        return directory
    complete = [path.removesuffix(f"/{_SAVED_MODEL}") for path in found if path.endswith(f"/{_SAVED_MODEL}")]
    if not (numbers := [int(name) for name in complete if name.isascii() and name.isdigit()]):
        entries = ", ".join(sorted({path.split("/")[0] for path in found})) or "nothing"
        raise MalTfError(
            f"{directory}: expected a SavedModel or a directory of versions such as serving/<model>, found {entries}"
        )
    return files.join(directory, str(max(numbers)))


def parse_models(flags: Sequence[str]) -> dict[str, str]:
    """Parses flags `NAME=SAVED_MODEL_DIR` into directories by model name.

    Raises:
        MalTfError: a flag has another form, or a name occurs twice.
    """
    pairs = [flag.partition("=") for flag in flags]
    if invalid := ["".join(pair) for pair in pairs if not all(pair)]:
        raise MalTfError(f"--model: expected NAME=SAVED_MODEL_DIR, found '{invalid[0]}'")
    names = [name for name, *_ in pairs]
    if duplicates := [name for name in names if names.count(name) > 1]:
        raise MalTfError(f"--model: expected a different name for each export, found '{duplicates[0]}' twice")
    return {name: directory for name, _, directory in pairs}


def _from_tfrecord(signatures: Mapping[str, Callable], path: str, listed: int | None) -> Iterator[pa.Table]:
    if not path.endswith(_TFRECORD):
        raise MalTfError(f"{path}: expected a table ({', '.join(tables.EXTENSIONS)}) or TFRecords (.tfrecord, .gz)")
    parsing, rows = {}, 0
    for examples in tfrecords.read(path, _BATCH, listed):
        if not rows:
            check_examples(signatures, examples.numpy(), "the model", path)
            dtype = click_id_type(examples.numpy())
            parsing["click_id"] = tf.io.FixedLenFeature([], tf.as_dtype(dtype), {"string": "", "int64": 0}[dtype])
        ids = tf.io.parse_example(examples, parsing)["click_id"].numpy()
        if ids.dtype == object:
            ids = np.char.decode(ids.astype(bytes))
        cvr = signatures["serving_default"](examples=examples)[OUTPUT].numpy()
        rows += cvr.size
        yield pa.table({"click_id": ids, OUTPUT: cvr})
    if not rows:
        yield pa.table({"click_id": pa.array([], pa.string()), OUTPUT: pa.array([], pa.float32())})


def _from_table(
    signatures: Mapping[str, Any], path: str, id_column: str, null_values: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    predict_raw = signatures["predict_raw"]
    signature = predict_raw.structured_input_signature[1]
    copied = id_column or "click_id"
    columns = list(dict.fromkeys([*signature, copied]))  # The id may also be a feature.
    lists = {name for name, spec in signature.items() if len(spec.shape) > 1}
    rounded = {name for name, spec in signature.items() if spec.dtype.name == "float32"} - {copied}
    cells = Cells(lists, rounded, set(signature) - {copied})
    required = [*sorted(signature), *([id_column] if id_column else [])]
    seen: set[str] = set()
    unreadable: Counter[str] = Counter()
    rows = 0
    for raw in read_file(path, columns, cells, null_values):
        if raw.malformed:
            raise MalTfError(f"{path}, row {raw.malformed[0][0]}: {raw.malformed[0][1]}")
        seen |= raw.seen
        for (column, _), lost in raw.unusable.items():
            unreadable[column] += int(lost.sum())
        _check_columns([name for name in required if name not in raw.rows.schema.names], path, signature, seen)
        for start in range(0, max(raw.rows.num_rows, 1), _BATCH):
            part = raw.rows.slice(start, _BATCH)
            inputs = {name: _tensor(part[name], spec, path, unreadable) for name, spec in signature.items()}
            ids = {copied: _ids(part[copied], copied, path)} if copied in raw.seen else {}
            cvr = predict_raw(**inputs)[OUTPUT].numpy()
            rows += cvr.size
            yield pa.table(ids | {OUTPUT: cvr})
    _check_columns([name for name in required if rows and name not in seen], path, signature, seen)
    for name, count in unreadable.items():
        kind = _KINDS[signature[name].dtype.name]
        log.warning("%s: %s values of column '%s' are not %s: taken for missing", path, f"{count:,}", name, kind)


def _check_columns(missing: Sequence[str], path: str, signature: Mapping[str, Any], seen: Iterable[str]) -> None:
    if missing:
        raise MalTfError(
            f"{path}: column '{missing[0]}' is missing; found: {', '.join(column_names(path) or sorted(seen))}; the model takes: "
            + ", ".join(sorted(signature))
        )


def _ids(column: pa.Array, name: str, path: str) -> pa.Array:
    """Ids as the label job reads them."""
    ids, rounded = as_identifier({name: column}, [name], lambda of: f"{path}: column '{of}'")
    if rounded.any():
        raise MalTfError(
            f"{path}: column '{name}': expected whole numbers or text, found a floating-point number that is no exact integer: "
            f"{column[int(np.argmax(rounded))]}. Write ids as integers or text."
        )
    return ids


def _tensor(column: pa.Array, spec: tf.TensorSpec, path: str, unreadable: Counter) -> tf.Tensor:
    """Converts a raw column to the type and shape of the signature as the label job reads it; nulls become `MISSING`."""
    dtype, where = spec.dtype.name, f"{path}: column '{spec.name}'"
    lengths = None
    if len(spec.shape) > 1:
        column, lengths = as_flat_lists(column, where, _KINDS[dtype])
    convert = {"string": as_feature_text, "int64": as_whole_numbers}.get(dtype, as_numbers)
    values, lost = convert(column, where)
    if lost.any():
        unreadable[spec.name] += int(lost.sum())
    filled = values.fill_null(MISSING[dtype]).to_numpy(zero_copy_only=False)
    tensor = tf.constant(filled, spec.dtype)
    if lengths is None:
        return tensor
    return tf.RaggedTensor.from_row_lengths(tensor, lengths).to_tensor(default_value=MISSING[dtype])
