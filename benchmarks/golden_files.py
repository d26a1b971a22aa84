"""Two files that two commits made, compared by content: where they differ first, and what each says there."""

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

#: Longest text of a value that is shown.
_LONGEST = 160

#: Of a difference between two models, what the bootstrap says.
_OF_INTERVALS = {"low", "high", "p", "adjusted_p"}


@dataclasses.dataclass(frozen=True)
class Made:
    """A file that a commit made.

    Attributes:
        path: of the file.
        root: of all that the commit made, which texts may name.
    """

    path: pathlib.Path
    root: pathlib.Path

    def json(self) -> Any:
        """What a JSON file says; paths in it begin at the root."""
        return json.loads(self.path.read_text(encoding="utf-8").replace(str(self.root), ""))


@dataclasses.dataclass(frozen=True)
class Found:
    """What came of comparing two files.

    Attributes:
        compared: how many records, lines, numbers, … were.
        difference: where the two differ first, and both values; empty if they are equal.
        note: what was not compared.
    """

    compared: int
    difference: str = ""
    note: str = ""


#: Compares the other commit's file with the working tree's.
Compare = Callable[[Made, Made], Found]

#: Where a value is in a JSON file.
Key = tuple[str, ...]


def tfrecords(before: Made, after: Made) -> Found:
    """Compressed TFRecords of tf.Examples: records first, then the compressed bytes."""
    count, same = 0, before.path.read_bytes() == after.path.read_bytes()
    for old, new in itertools.zip_longest(_records(before.path), _records(after.path)):
        if old != new:
            return Found(count, f"record {count}: {_example_difference(old, new)}")
        count += 1
    if same:
        return Found(count)
    sizes = tuple(one.path.stat().st_size for one in (before, after))
    return Found(count, f"records are equal, compressed bytes are not ({sizes[0]:,} bytes before, {sizes[1]:,} now)")


def _records(path: pathlib.Path) -> Iterator[bytes | None]:
    with gzip.open(path) as file:
        yield from tfrecord.read(io.BufferedReader(file))


def _example_difference(before: bytes | None, after: bytes | None) -> str:
    if before is None or after is None:
        return "not there before" if before is None else "not there now"
    from features.keras2 import tf  # Takes seconds, and is needed where something is wrong alone.

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


def lines(before: Made, after: Made) -> Found:
    """Text files, line by line."""
    old, new = (one.path.read_text(encoding="utf-8").split("\n") for one in (before, after))
    for number, (one, other) in enumerate(itertools.zip_longest(old, new)):
        if one != other:
            return Found(number, f"line {number + 1}: {_both(one, other)}")
    return Found(len(old))


def whole(before: Made, after: Made) -> Found:
    """Files of any kind, byte for byte."""
    old, new = (one.path.read_bytes() for one in (before, after))
    if old == new:
        return Found(len(old))
    place = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    return Found(place, f"byte {place:,}; {len(old):,} bytes before, {len(new):,} now")


def weights(before: Made, after: Made) -> Found:
    """Weights in HDF5 files, by name, bit for bit; not the files' own bytes, which say when they were written."""
    old = {golden_names.today(name, golden_names.WEIGHTS): value for name, value in _datasets(before.path).items()}
    new = _datasets(after.path)
    compared = sum(value.size for value in new.values())
    if lone := _only_one_side(old, new):
        return Found(compared, f"weights {lone}")
    for name, value in new.items():
        if difference := _array_difference(old[name], value):
            return Found(compared, f"weight '{name}'{difference}")
    return Found(compared)


def _datasets(path: pathlib.Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def visit(name: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset):
            found[name] = one[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


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


def table(before: Made, after: Made) -> Found:
    """Parquet files, column by column; not their metadata."""
    old, new = (pq.read_table(one.path) for one in (before, after))
    kinds = [{field.name: field.type for field in one.schema} for one in (old, new)]
    if lone := _only_one_side(*kinds):
        return Found(0, f"columns {lone}")
    if old.num_rows != new.num_rows:
        return Found(0, f"rows: {_both(old.num_rows, new.num_rows)}")
    for name, kind in kinds[1].items():
        if kinds[0][name] != kind:
            return Found(new.num_rows, f"column '{name}': {_both(str(kinds[0][name]), str(kind))}")
        values = [list(map(repr, one[name].to_pylist())) for one in (old, new)]  # NaN is NaN, and 0.0 is not -0.0.
        differ = [row for row, (one, other) in enumerate(zip(*values, strict=True)) if one != other]
        if differ:
            shown = f"{values[0][differ[0]]} before, {values[1][differ[0]]} now"
            return Found(new.num_rows, f"column '{name}', row {differ[0]}: {shown}; {len(differ):,} rows differ")
    return Found(new.num_rows)


def is_interval(key: Key) -> bool:
    """Whether the bootstrap made a value of a metrics file: an end of an interval or a p-value."""
    return bool({"intervals", "bootstrap", "multiplicity"} & set(key)) or (
        bool({"differences", "losses"} & set(key)) and key[-1] in _OF_INTERVALS
    )


def is_exact(key: Key) -> bool:
    """Whether a value of a metrics file is none of the bootstrap's."""
    return not is_interval(key)


def json_values(of: Callable[[Key], bool] = lambda key: True, common: bool = False) -> Compare:
    """Compares JSON files, value by value: as written, so that 1 is not 1.0.

    Args:
        of: which keys.
        common: leave out, and note, what is in one of the two alone.
    """

    def compare(before: Made, after: Made) -> Found:
        old, new = ({".".join(key): value for key, value in _leaves(one.json()) if of(key)} for one in (before, after))
        old = {golden_names.today(key, golden_names.KEYS): value for key, value in old.items()}
        return _mappings(old, new, common)

    return compare


def label_files(before: Made, after: Made) -> Found:
    """The manifest of a label job: its TFRecords' paths and digests, and nothing else of it."""
    old, new = ({file["path"]: file["sha256"] for file in one.json()["files"]} for one in (before, after))
    return _mappings(old, new)


def _leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, dict | list) and value:
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(one, (*key, str(name)))
    else:
        yield key, value


def _mappings(before: Mapping[str, Any], after: Mapping[str, Any], common: bool = False) -> Found:
    lone = _only_one_side(before, after)
    both = [key for key in after if key in before]
    if lone and not common:
        return Found(len(both), lone)
    for key in both:
        if repr(before[key]) != repr(after[key]):
            return Found(len(both), f"{key}: {_both(before[key], after[key])}", lone)
    return Found(len(both), note=lone)


def _only_one_side(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    sides = (("before", before, after), ("now", after, before))
    lone = [(when, [key for key in one if key not in other]) for when, one, other in sides]
    return "; ".join(f"only {when}: {_cut(', '.join(names))}" for when, names in lone if names)


def _both(before: Any, after: Any) -> str:
    return f"{_cut(repr(before))} before, {_cut(repr(after))} now"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
