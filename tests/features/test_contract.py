"""Feature types of a user's own: what they lack or get wrong is an error that names them."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic
import pytest

from features import contract
from features.errors import MalTfError
from features.feature import ColumnFeature, Feature
from features.feature_types import CategoricalFeature
from features.keras2 import keras, tf
from features.lookup import lookup_model, table_sizes
from features.lookup_layers import outside_of_table
from features.spec import FeatureSpec
from features.vocabulary import vocabularies
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import click
from mal_tf.training.config import TrainingConfig
from mal_tf.training.in_memory import fit


class Clicks:
    """Three clicks of a table with a column `sku`."""

    timestamp = np.array([7, 8, 9])
    units_per_second = 1

    def column(self, name):
        return {"sku": pa.array(["a", "b", None])}[name]


class Rhythm(Feature):
    """A type whose methods give what the test says, or what is right."""

    dtype: ClassVar[str] = "int64"

    gives: dict = {}

    def columns(self, events, spec):
        return self.gives.get("columns", {})

    def check(self, spec):
        if "check" in self.gives:
            raise self.gives["check"]

    def select(self, clicks, spec):
        answer = self.gives.get("select", pa.array([1, 2, 3]))
        return answer(clicks) if callable(answer) else answer

    def discrete(self, values):
        return self.gives.get("discrete", values)

    def rows(self, vocabulary, config):
        return self.gives.get("rows", 5)

    def lookup(self, vocabulary, config):
        return self.gives.get("lookup", lambda values: tf.cast(tf.maximum(values, 0), tf.int32))


class Tags(CategoricalFeature):
    """Lists of tags with a vocabulary."""

    type: str
    sequence: ClassVar[bool] = True
    length: int = pydantic.Field(2, ge=1)

    def select(self, clicks, spec):
        return pc.split_pattern(clicks.column(self.source_column), "|")

    def vector(self, values, config):
        return tf.reduce_mean(values, axis=1)


def rhythm(**gives):
    return FeatureSpec(features=[Rhythm(type="shop:Rhythm", name="rhythm", gives=gives)])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (pa.array([1]), "expected one value per click: 3; found 1"),
        (pa.array(["a", "b", "c"]), "expected an Arrow array of type int64, .*; found string"),
        (pa.array([1, 2, 3], pa.int32()), "expected an Arrow array of type int64, .*; found int32"),
        (pa.array([[1], [2], []]), "expected an Arrow array of type int64, .*; found list<item: int64>"),
        (np.zeros(3, np.int64), "expected an Arrow array, such as `pa.array` makes; found ndarray"),
        (lambda clicks: clicks.column("sku"), r"a column that `columns` asks for \(none\); found 'sku'"),
        (lambda clicks: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda clicks: exit(3), "SystemExit: 3"),
    ],
)
def test_values_that_are_not_the_types_are_refused(answer, message):
    spec = rhythm(select=answer)
    with pytest.raises(MalTfError, match=f"feature type 'shop:Rhythm' of feature 'rhythm', select: .*{message}"):
        contract.select(spec.features[0], Clicks(), spec)


def test_values_in_chunks_and_columns_that_are_asked_for_are_taken():
    spec = rhythm(columns={"sku": "string"}, select=lambda clicks: pc.utf8_length(clicks.column("sku")).cast("int64"))
    assert contract.select(spec.features[0], Clicks(), spec).to_pylist() == [1, 1, None]
    spec = rhythm(select=pa.chunked_array([[1], [2, 3]]))
    assert contract.select(spec.features[0], Clicks(), spec) == pa.array([1, 2, 3])


def test_lists_are_of_the_types_values_whatever_their_field_is_called():
    values = pa.array([[1.0], [], None], pa.list_(pa.field("element", pa.float32())))

    class Near(Rhythm):
        dtype: ClassVar[str] = "float32"
        sequence: ClassVar[bool] = True
        embedded: ClassVar[bool] = False
        length: int = 2

        def vector(self, values, config):
            return values

    spec = FeatureSpec(features=[Near(type="shop:Near", name="near", gives={"select": values})])
    assert contract.select(spec.features[0], Clicks(), spec) == values


def test_discrete_values_are_one_per_click():
    with pytest.raises(MalTfError, match="'rhythm', discrete: expected one value per click: 2; found 1"):
        contract.discrete(rhythm(discrete=pa.array([1])).features[0], pa.array([1, 2]))


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        ({"columns": {"sku": "int32"}}, "'rhythm', columns: expected a dict from columns to one of: string, .*int32"),
        ({"columns": ["sku"]}, r"'rhythm', columns: expected a dict .*found \['sku'\]"),
        ({"check": ValueError("needs an item")}, "Value error, needs an item"),
        ({"check": KeyError("item")}, "feature type 'shop:Rhythm' of feature 'rhythm', check: KeyError: 'item'"),
    ],
)
def test_columns_and_checks_that_fail_are_named_with_the_config(gives, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        rhythm(**gives)


class Bare(Feature):
    """A type that defines what it has to for Python alone."""

    def select(self, clicks, spec):
        return pa.array([0, 0, 0])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "has no attribute 'dtype'"),
        ({"dtype": "int32"}, "expected `dtype` to be one of string, int64, float32; found 'int32'"),
        ({"dtype": "int64"}, "expected a method `rows`, which features with an embedding table need"),
        (
            {"dtype": "int64", "embedded": False},
            "expected a method `vector`, which lists and features that are not emb",
        ),
        ({"dtype": "int64", "embedded": False, "has_vocabulary": True}, "expected a method `cut`"),
        ({"dtype": "int64", "sequence": True}, "expected a field `length`"),
        ({"dtype": "int64", "table": "other"}, "expected `table` to be an embedded feature: own; found 'other'"),
    ],
)
def test_what_a_type_lacks_is_said_when_the_spec_is_read(attributes, message):
    annotations = {name: ClassVar[type(value)] for name, value in attributes.items()}
    own = type("Own", (Bare,), attributes | {"__annotations__": annotations, "__module__": __name__})
    with pytest.raises(pydantic.ValidationError, match=message):
        FeatureSpec(features=[own(type="shop:Own", name="own")])


@pytest.mark.parametrize("rows", [0, None, "5"])
def test_rows_are_a_number(rows):
    with pytest.raises(MalTfError, match=f"'rhythm', rows: expected a whole number of rows, .*; found {rows!r}"):
        table_sizes(rhythm(rows=rows), {})


@pytest.mark.parametrize("by", ["eager", "graph", "saved model", "keras file"])
@pytest.mark.parametrize("row", [5, -1])
def test_a_row_outside_of_the_table_is_an_error_that_names_the_type(tmp_path, by, row):
    model = lookup_model(rhythm(lookup=lambda values: tf.cast(values, tf.int32)), {})
    if by == "graph":
        model = tf.function(model)
    elif by == "saved model":
        tf.saved_model.save(model, str(tmp_path))
        model = tf.saved_model.load(str(tmp_path))
    elif by == "keras file":
        model.save(tmp_path / "lookup.keras")
        model = keras.models.load_model(tmp_path / "lookup.keras")
    assert model({"rhythm": tf.constant([4, 0, 2], tf.int64)})["rhythm"].numpy().tolist() == [4, 0, 2]
    assert model({"rhythm": tf.constant([], tf.int64)})["rhythm"].shape == (0,)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        model({"rhythm": tf.constant([2, row], tf.int64)})
    assert outside_of_table(error.value) == (
        "feature type 'shop:Rhythm' of feature 'rhythm', lookup: expected rows from 0 to 4, as `rows` is 5; "
        f"found {min(row, 2)} to {max(row, 2)}"
    )


def test_built_in_types_are_looked_up_without_a_check():
    spec = FeatureSpec(features=[{"type": "categorical", "name": "sku"}, {"type": "history", "name": "h", "of": "sku"}])
    assert not [layer for layer in lookup_model(spec, {"sku": ["a"]}).layers if "check" in layer.name]


@pytest.mark.parametrize(
    ("lookup", "message"),
    [
        (lambda values: tf.cast(values, tf.float32), "expected whole numbers of rows, int32 or int64; found float32"),
        (lambda values: values + "a", "(TypeError|ValueError): "),
    ],
)
def test_a_lookup_that_fails_is_named(lookup, message):
    with pytest.raises(MalTfError, match=f"(?s)feature type 'shop:Rhythm' of feature 'rhythm', lookup: {message}"):
        lookup_model(rhythm(lookup=lookup), {})


def test_a_vector_that_is_none_is_refused():
    class Count(ColumnFeature):
        dtype: ClassVar[str] = "float32"
        embedded: ClassVar[bool] = False

        def vector(self, values, config):
            return values

    spec = FeatureSpec(features=[Count(type="shop:Count", name="count")])
    with pytest.raises(
        MalTfError, match=r"'count', vector: expected a tensor float \[batch, any\]; found <KerasTensor"
    ):
        click(spec, {}, ModelConfig(primary="last"))


def test_lists_have_a_vocabulary_of_what_the_model_sees():
    spec = FeatureSpec(features=[Tags(type="shop:Tags", name="tags")])
    lists = pa.array([["b", "a", "unseen"], ["b", ""], None, [], ["c", None, "b"]])
    found = vocabularies(spec, pa.table({"tags": lists}))
    assert found == {"tags": ["b", "a", "c"]}
    raw = {"tags": tf.constant([["b", "", ""], ["unseen", "c", "a"]])}
    assert lookup_model(spec, found)(raw)["tags"].numpy().tolist() == [[2, 0], [1, 4]]
    assert table_sizes(spec, found) == {"tags": 5}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"tokens": lambda self, values: 3}, "'sku', tokens: expected an Arrow array, .*; found int"),
        ({"tokens": lambda self, values: pa.array([[1]])}, "'sku', tokens: ArrowNotImplementedError"),
        ({"cut": lambda self, counts, config, previous: ["a", 2]}, "'sku', cut: expected a list of texts .*'a', 2"),
        ({"cut": lambda self, counts, config, previous: ["a\nb"]}, "'sku', cut: expected a list of texts without line"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(method, message):
    class Own(CategoricalFeature):
        type: str

    for name, function in method.items():
        setattr(Own, name, function)
    spec = FeatureSpec(features=[Own(type="shop:Own", name="sku")])
    with pytest.raises(MalTfError, match=f"feature type 'shop:Own' of feature {message}"):
        vocabularies(spec, pa.table({"sku": ["a", "b"]}))


def test_a_history_of_lists_is_refused():
    features = [Tags(type="shop:Tags", name="tags"), {"type": "history", "name": "seen", "of": "tags"}]
    with pytest.raises(pydantic.ValidationError, match="unknown feature 'tags'; categorical features: none"):
        FeatureSpec(features=features)


def test_training_with_rows_outside_of_the_table_ends_with_the_types_name():
    clicks = pa.table(
        {"click_id": range(64), "user_id": ["a"] * 64, "timestamp": range(64), "mature": [1] * 64}
        | {"rhythm": [number % 7 for number in range(64)], "label_last": pa.array([0.0, 1.0] * 32, pa.float32())}
    )
    config = TrainingConfig(batch_size=8)
    with pytest.raises(
        MalTfError, match="^feature type 'shop:Rhythm' of .* expected rows from 0 to 4, .*found 0 to 6$"
    ):
        fit(clicks, rhythm(), ModelConfig(name="base", primary="last"), config)
