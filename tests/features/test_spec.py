import pydantic
import pytest

from features.spec import FeatureSpec

SHOP = {"type": "categorical", "name": "shop"}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([SHOP | {"min_cuont": 3}], "unknown key 'min_cuont'; did you mean 'min_count'"),
        ([SHOP, SHOP], "feature names must differ; given twice: shop"),
        ([SHOP, {"type": "history", "name": "h", "of": "shpo"}], "unknown feature 'shpo'; categorical features: shop"),
        (
            [{"type": "numeric", "name": "n"}, {"type": "history", "name": "h", "of": "n"}],
            "unknown feature 'n'; categorical features: none",
        ),
        ([SHOP | {"name": "click_id"}], "reserved feature name: click_id"),
        ([SHOP | {"name": "label_x"}], "reserved feature name: label_x"),
        ([SHOP, {"type": "numeric", "name": "n", "column": "shop"}], "column 'shop' is used as two dtypes"),
        ([SHOP | {"name": "Shop"}], "pattern"),
        (
            [SHOP, {"type": "similarity", "name": "near", "column": "shop"}],
            "column 'shop' is used as similarities and as a single value",
        ),
    ],
)
def test_refuses(features, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        FeatureSpec(features=features)


def test_conversions_need_the_columns_of_what_they_remember_only():
    spec = FeatureSpec(
        features=[
            SHOP | {"column": "shop_id", "dtype": "int64"},
            {"type": "numeric", "name": "price"},
            {"type": "history", "name": "bought", "of": "shop", "events": "conversions"},
        ]
    )
    assert spec.columns() == {"shop_id": "int64", "price": "float32"}
    assert spec.columns("conversions") == {"shop_id": "int64"}
    assert spec.dtype(spec.histories[0]) == "int64"


def test_similarities_have_a_column_and_no_vocabulary():
    spec = FeatureSpec(features=[SHOP, {"type": "similarity", "name": "near", "column": "cosines"}])
    assert spec.columns() == {"shop": "string", "cosines": "list of float32"}
    assert spec.columns("conversions") == {}
    assert [f.name for f in spec.scalars] == ["shop"]
    assert spec.dtype(spec.similarities[0]) == "float32"
