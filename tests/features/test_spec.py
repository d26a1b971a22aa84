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
        ([SHOP, {"type": "numeric", "name": "n", "column": "shop"}], "column 'shop' is used as string and as float32"),
        ([SHOP | {"name": "Shop"}], "pattern"),
        (
            [SHOP, {"type": "similarity", "name": "near", "column": "shop"}],
            "column 'shop' is used as string and as list of float32",
        ),
        ([SHOP | {"hash_lookups": 2}], "feature 'shop' is hashed: vocabulary.hash_buckets, .* is missing"),
        ([SHOP | {"hash_lookups": 2, "min_count": 3}], "'shop' is hashed and has no vocabulary: remove min_count"),
        ([{"type": "numeric", "name": "n", "hash_lookups": 2}], "unknown key 'hash_lookups'"),
    ],
)
def test_refuses(features, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        FeatureSpec(features=features)


def test_a_wrong_item_of_a_list_is_the_only_error():
    with pytest.raises(pydantic.ValidationError) as wrong:
        FeatureSpec(features=[SHOP | {"min_cuont": 3}])
    assert wrong.value.error_count() == 1
    with pytest.raises(pydantic.ValidationError, match="expected at least one item, found none"):
        FeatureSpec(features=[])


def test_hashed_features_have_no_vocabulary():
    features = [SHOP, {"type": "categorical", "name": "item", "hash_lookups": 2}]
    spec = FeatureSpec(features=features, vocabulary={"hash_buckets": 10})
    assert [f.name for f in spec.with_vocabulary] == ["shop"]
    assert spec.hash_lookups == {"item": 2}
    with pytest.raises(pydantic.ValidationError, match="hash_buckets has no effect: no feature has hash_lookups"):
        FeatureSpec(features=[SHOP], vocabulary={"hash_buckets": 10})


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
