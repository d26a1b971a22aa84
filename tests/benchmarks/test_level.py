"""Each variant of the level's benchmark changes one thing; one that there is none of is refused."""

import pytest

from benchmarks import level
from features.errors import MalTfError
from mal_tf.training.config import TrainingConfig


def test_variants_change_one_thing_each():
    variants = level.training_variants(TrainingConfig())
    first, begins_at_prior = variants.pop("as configured")
    assert first == TrainingConfig() and begins_at_prior
    changed = [
        {key for key, value in variant.model_dump().items() if value != first.model_dump()[key]}
        | (set() if at_prior else {"prior"})
        for variant, at_prior in variants.values()
    ]
    assert changed == [
        {"prior"},
        {"averaging"},
        {"averaging"},
        {"averaging"},
        {"batch_size"},
        {"batch_size"},
        {"learning_rate", "embedding_learning_rate"},
        {"learning_rate"},
        {"warmup_share"},
        {"clip_norm"},
        {"auxiliary_weight", "cat_weight"},
    ]


def test_averaging_of_the_config_is_a_variant_and_not_its_start():
    variants = level.training_variants(TrainingConfig(averaging={"last_share": 0.5})).values()
    assert [config.averaging is not None for config, _ in variants][:5] == [False, False, True, True, True]


def test_a_misspelt_variant_is_refused(tmp_path):
    with pytest.raises(
        MalTfError, match="no variant is called 'twice the bach'; there are: as configured, heads begin"
    ):
        level.main("examples/kuairand/config.yaml", str(tmp_path), variants="twice the bach")
