"""Compares files that two commits made by content, and describes the first difference."""

import dataclasses
import gzip
import io
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq

from benchmarks import golden_names
from features import tfrecord

#: Largest number of characters of a value that are shown.
_MAX_CHARS = 160

#: Keys of a difference between two models that the bootstrap computes.
_BOOTSTRAP_KEYS = {"low", "high", "p", "adjusted_p"}


@dataclasses.dataclass(frozen=True)
class OutputFile:
    """A file that a commit made.

    Attributes:
        path: path of the file.
        root: directory of all that the commit made, which the file's text may contain.
    """

    path: pathlib.Path
    root: pathlib.Path

    def json(self) -> Any:
        """Read the file as JSON, with paths made relative to the root."""
        return json.loads(self.path.read_text(encoding="utf-8").replace(str(self.root), ""))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of comparing two files.

    Attributes:
        compared: number of records, lines or values that were compared.
        difference: the first difference, with both values; empty if the files are equal.
        note: what was not compared.
    """

    compared: int
    difference: str = ""
    note: str = ""


#: Compares the other commit's file with the working tree's.
Compare = Callable[[OutputFile, OutputFile], Comparison]

#: Path of a value in a JSON file.
Key = tuple[str, ...]


def tfrecords(before: OutputFile, after: OutputFile) -> Comparison:
    """Compare compressed TFRecords of tf.Examples: the records first, then the compressed bytes."""
    count, same = 0, before.path.read_bytes() == after.path.read_bytes()
    for old, new in itertools.zip_longest(_records(before.path), _records(after.path)):
        if old != new:
            return Comparison(count, f"record {count}: {_example_difference(old, new)}")
        count += 1
    if same:
        return Comparison(count)
    sizes = tuple(one.path.stat().st_size for one in (before, after))
    return Comparison(
        count, f"records are equal, compressed bytes are not ({sizes[0]:,} bytes before, {sizes[1]:,} now)"
    )


def _records(path: pathlib.Path) -> Iterator[bytes | None]:
    with gzip.open(path) as file:
        yield from tfrecord.read(io.BufferedReader(file))


def _example_difference(before: bytes | None, after: bytes | None) -> str:
    if before is None or after is None:
        return "not there before" if before is None else "not there now"
    from features.keras2 import tf  # Takes seconds to import, and is only needed if there is a difference.

    old, new = (dict(tf.train.Example.FromString(one).features.feature) for one in (before, after))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            return f"feature '{name}': {_both(_values(old.get(name)), _values(new.get(name)))}"
    return "the same features in other bytes"


def _values(feature: Any) -> Any:
    if feature is None:
        return "nothing"
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def lines(before: OutputFile, after: OutputFile) -> Comparison:
    """Compare text files line by line."""
    old, new = (one.path.read_text(encoding="utf-8").split("\n") for one in (before, after))
    for number, (one, other) in enumerate(itertools.zip_longest(old, new)):
        if one != other:
            return Comparison(number, f"line {number + 1}: {_both(one, other)}")
    return Comparison(len(old))


def whole(before: OutputFile, after: OutputFile) -> Comparison:
    """Compare files of any kind byte for byte."""
    old, new = (one.path.read_bytes() for one in (before, after))
    if old == new:
        return Comparison(len(old))
    place = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    return Comparison(place, f"byte {place:,}; {len(old):,} bytes before, {len(new):,} now")


def weights(before: OutputFile, after: OutputFile) -> Comparison:
    """Compare weights in HDF5 files by name, bit for bit. The files' own bytes contain times."""
    old = {golden_names.today(name, golden_names.WEIGHTS): value for name, value in _datasets(before.path).items()}
    new = _datasets(after.path)
    compared = sum(value.size for value in new.values())
    if lone := _only_one_side(old, new):
        return Comparison(compared, f"weights {lone}")
    for name, value in new.items():
        if difference := _array_difference(old[name], value):
            return Comparison(compared, f"weight '{name}'{difference}")
    return Comparison(compared)


def _datasets(path: pathlib.Path) -> dict[str, np.ndarray]:
    datasets: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            datasets[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return datasets


def _array_difference(before: np.ndarray, after: np.ndarray) -> str:
    kinds = [f"{one.dtype}{list(one.shape)}" for one in (before, after)]
    if kinds[0] != kinds[1]:
        return f": {_both(*kinds)}"
    bits = [np.ascontiguousarray(one).reshape(-1).view(f"V{one.itemsize}") for one in (before, after)]
    differ = np.flatnonzero(bits[0] != bits[1])
    if not differ.size:
        return ""
    place = np.unravel_index(differ[0], before.shape)
    largest = np.nanmax(np.abs(after.astype(np.float64) - before.astype(np.float64)))
    return (
        f"{[int(n) for n in place]}: {_both(before[place].item(), after[place].item())}; {differ.size:,} of {before.size:,} "
        f"numbers differ, by {largest:.3g} at most"
    )


def table(before: OutputFile, after: OutputFile) -> Comparison:
    """Compare Parquet files column by column, without their metadata."""
    old, new = (pq.read_table(one.path) for one in (before, after))
    kinds = [{field.name: field.type for field in one.schema} for one in (old, new)]
    if lone := _only_one_side(*kinds):
        return Comparison(0, f"columns {lone}")
    if old.num_rows != new.num_rows:
        return Comparison(0, f"rows: {_both(old.num_rows, new.num_rows)}")
    for name, kind in kinds[1].items():
        if kinds[0][name] != kind:
            return Comparison(new.num_rows, f"column '{name}': {_both(str(kinds[0][name]), str(kind))}")
        values = [
            list(map(repr, one[name].to_pylist())) for one in (old, new)
        ]  # As text, NaN equals NaN, and 0.0 differs from -0.0.
        differ = [row for row, (one, other) in enumerate(zip(*values, strict=True)) if one != other]
        if differ:
            shown = f"{values[0][differ[0]]} before, {values[1][differ[0]]} now"
            return Comparison(new.num_rows, f"column '{name}', row {differ[0]}: {shown}; {len(differ):,} rows differ")
    return Comparison(new.num_rows)


def is_interval(key: Key) -> bool:
    """Return whether a value of a metrics file is the bootstrap's: an end of an interval or a p-value."""
    return bool({"intervals", "bootstrap", "multiplicity"} & set(key)) or (
        bool({"differences", "losses"} & set(key)) and key[-1] in _BOOTSTRAP_KEYS
    )


def is_exact(key: Key) -> bool:
    """Return whether a value of a metrics file is not the bootstrap's."""
    return not is_interval(key)


def json_values(keys: Callable[[Key], bool] = lambda key: True, common: bool = False) -> Compare:
    """Return a comparison of JSON files value by value, as written, so that 1 differs from 1.0.

    Args:
        keys: returns whether to compare the value of a key.
        common: whether to compare only keys that both files have; others are noted.
    """

    def compare(before: OutputFile, after: OutputFile) -> Comparison:
        old, new = (
            {".".join(key): value for key, value in _leaves(one.json()) if keys(key)} for one in (before, after)
        )
        old = {golden_names.today(key, golden_names.KEYS): value for key, value in old.items()}
        return _mappings(old, new, common)

    return compare


def label_files(before: OutputFile, after: OutputFile) -> Comparison:
    """Compare the TFRecords' paths and digests in the manifests of two label jobs."""
    old, new = ({file["path"]: file["sha256"] for file in one.json()["files"]} for one in (before, after))
    return _mappings(old, new)


def _leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, dict | list) and value:
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(one, (*key, str(name)))
    else:
        yield key, value


def _mappings(before: Mapping[str, Any], after: Mapping[str, Any], common: bool = False) -> Comparison:
    lone = _only_one_side(before, after)
    both = [key for key in after if key in before]
    if lone and not common:
        return Comparison(len(both), lone)
    for key in both:
        if repr(before[key]) != repr(after[key]):
            return Comparison(len(both), f"{key}: {_both(before[key], after[key])}", lone)
    return Comparison(len(both), note=lone)


def _only_one_side(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    sides = (("before", before, after), ("now", after, before))
    lone = [(when, [key for key in one if key not in other]) for when, one, other in sides]
    return "; ".join(f"only {when}: {_cut(', '.join(names))}" for when, names in lone if names)


def _both(before: Any, after: Any) -> str:
    return f"{_cut(repr(before))} before, {_cut(repr(after))} now"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "…"
