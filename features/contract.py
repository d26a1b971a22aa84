"""Calls of the methods of feature types, which may be a user's own: errors name the type, and results are checked."""

import contextlib
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import first_of_each, flat
from features.errors import MalTfError, named_errors
from features.feature import ARROW_TYPE, MISSING, Clicks, Feature, VocabularyConfig

if TYPE_CHECKING:
    from features.feature_types import HistoryFeature
    from features.spec import FeatureSpec


def feature_errors(feature: Feature, method: str) -> contextlib.AbstractContextManager[None]:
    """Context manager that turns exceptions raised within into a MalTfError that names the feature type and its method."""
    return named_errors(f"feature type '{feature.type}' of feature '{feature.name}', {method}")


def check(feature: Feature, spec: "FeatureSpec") -> None:
    """Checks that a feature fits the others of the spec, and that its type defines every method that will be called.

    Raises:
        ValueError: the feature does not fit.
        MalTfError: the type lacks a method or attribute, or its `check` failed.
    """
    try:
        feature.check(spec)
    except ValueError:
        raise
    except (Exception, SystemExit) as error:
        with feature_errors(feature, "check"):
            raise error
    with feature_errors(feature, "definition"):
        if (dtype := spec.dtype(feature)) not in MISSING:
            raise MalTfError(f"expected `dtype` to be one of {', '.join(MISSING)}; found {dtype!r}")
        if feature.sequence and not hasattr(feature, "length"):
            raise MalTfError("expected a field `length`, the most values that the model sees, as `sequence` is True")
        if feature.embedded and feature.table not in (names := [f.name for f in spec.features if f.embedded]):
            raise MalTfError(f"expected `table` to be an embedded feature: {', '.join(names)}; found {feature.table!r}")
        needed = {
            "rows": feature.embedded and feature.table == feature.name,
            "cut": feature.has_vocabulary,
            "vector": _read_by_own_vector(feature, spec),
        }
        for method, is_needed in needed.items():
            if is_needed and getattr(type(feature), method) is getattr(Feature, method):
                raise MalTfError(f"expected a method `{method}`, which {_WHY[method]} need; found none in its class")


_WHY = {
    "rows": "features with an embedding table",
    "cut": "features with a vocabulary",
    "vector": "lists and features that are not embedded",
}


def _read_by_own_vector(feature: Feature, spec: "FeatureSpec") -> bool:
    return feature in spec.read_directly and feature not in (*spec.histories, *spec.similarities)


def columns(feature: Feature, events: str, spec: "FeatureSpec") -> Mapping[str, str]:
    """The raw columns that a feature asks for, see `Feature.columns`.

    Raises:
        MalTfError: the type failed, or its answer is not a mapping of columns to dtypes.
    """
    with feature_errors(feature, "columns"):
        asked = feature.columns(events, spec)
        if not isinstance(asked, Mapping) or not all(dtype in ARROW_TYPE for dtype in asked.values()):
            raise MalTfError(f"expected a dict from columns to one of: {', '.join(ARROW_TYPE)}; found {asked!r}")
    return asked


def select(feature: Feature, clicks: Clicks, spec: "FeatureSpec") -> pa.Array:
    """The values of a feature, one per click, see `Feature.select`.

    Raises:
        MalTfError: the type failed, reads a column that it does not ask for, or its values are not an Arrow array of the
            feature's type with one entry per click.
    """
    asked = _Asked(clicks, columns(feature, "clicks", spec))
    dtype = ARROW_TYPE[spec.dtype(feature)]
    with feature_errors(feature, "select"):
        values = _one_per_click(feature.select(asked, spec), len(clicks.timestamp))
        is_list = pa.types.is_list(values.type)
        if is_list != feature.sequence or (values.type.value_type if is_list else values.type) != dtype:
            expected = f"list<{dtype}>" if feature.sequence else dtype
            raise MalTfError(
                f"expected an Arrow array of type {expected}, as `dtype` and `sequence` say; found {values.type}"
            )
    return values


def discrete(feature: Feature, values: pa.Array) -> pa.Array:
    """Discretised values of a feature, see `Feature.discrete`.

    Raises:
        MalTfError: the type failed, or its result is not an Arrow array of the same length.
    """
    with feature_errors(feature, "discrete"):
        return _one_per_click(feature.discrete(values), len(values))


def _one_per_click(values: Any, clicks: int) -> pa.Array:
    values = _as_array(values)
    if len(values) != clicks:
        raise MalTfError(f"expected one value per click: {clicks:,}; found {len(values):,}")
    return values


def _as_array(values: Any) -> pa.Array:
    if not isinstance(values, pa.Array | pa.ChunkedArray):
        raise MalTfError(f"expected an Arrow array, such as `pa.array` makes; found {type(values).__name__}")
    return flat(values)


def token_counts(feature: Feature, values: pa.Array) -> pa.StructArray:
    """Counts the tokens of a feature's values, see `Feature.tokens`; of lists, the values that the model sees.

    Raises:
        MalTfError: the type failed, or its tokens are not an Arrow array of text or numbers.
    """
    values = values.drop_null()
    if feature.sequence:
        values = first_of_each(values, feature.length).flatten().drop_null()
        values = values.filter(pc.not_equal(values, pa.scalar(MISSING[feature.dtype], values.type)))
    with feature_errors(feature, "tokens"):
        return pc.value_counts(_as_array(feature.tokens(values)))


def cut(
    feature: Feature, counts: pa.Table, config: VocabularyConfig, previous: Sequence[str] | None = None
) -> list[str]:
    """Lines of a feature's vocabulary file, see `Feature.cut`.

    Raises:
        MalTfError: the type failed, or its result is not a list of lines.
    """
    with feature_errors(feature, "cut"):
        lines = feature.cut(counts, config, previous)
        if not isinstance(lines, list) or not all(isinstance(line, str) and "\n" not in line for line in lines):
            raise MalTfError(f"expected a list of texts without line breaks; found {lines!r:.200}")
    return lines


def rows(feature: Feature, vocabulary: Sequence[str], config: VocabularyConfig) -> int:
    """Rows of a feature's embedding table, see `Feature.rows`.

    Raises:
        MalTfError: the type failed, or its result is not a number of rows.
    """
    with feature_errors(feature, "rows"):
        found = feature.rows(vocabulary, config)
        if not isinstance(found, numbers.Integral) or found < 1:
            raise MalTfError(f"expected a whole number of rows, at least 1; found {found!r}")
    return int(found)


class _Asked:
    """Clicks whose columns are those that a feature asks for (implements `features.feature.Clicks`)."""

    def __init__(self, clicks: Clicks, asked: Mapping[str, str]):
        self._clicks, self._asked = clicks, asked

    @property
    def timestamp(self) -> Any:
        return self._clicks.timestamp

    @property
    def units_per_second(self) -> int:
        return self._clicks.units_per_second

    def column(self, name: str) -> pa.Array:
        if name not in self._asked:
            asked = ", ".join(self._asked) or "none"
            raise MalTfError(f"expected a column that `columns` asks for ({asked}); found '{name}', add it there")
        return self._clicks.column(name)

    def history(self, feature: "HistoryFeature") -> pa.ListArray:
        return self._clicks.history(feature)
