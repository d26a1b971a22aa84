"""Each variant of the level's benchmark changes one thing; one that there is none of is refused."""

import pytest

from benchmarks import level
from features.errors import MalTfError
from mal_tf.training.config import TrainingConfig


def test_every_variant_changes_something_and_one_thing():
    config = TrainingConfig(averaging={"last_share": 0.5})
    (first, begins_at_prior), *others = level.variants_of(config).values()
    assert first.averaging is None and begins_at_prior
    changed = [
        {key for key, value in variant.model_dump().items() if value != first.model_dump()[key] and key != "averaging"}
        | ({"prior"} if not at_prior else set())
        for variant, at_prior in others
    ]
    assert [keys for keys in changed if len(keys) > 1] == [
        {"learning_rate", "embedding_learning_rate"},
        {"auxiliary_weight", "cat_weight"},
    ]


def test_a_misspelt_variant_is_refused(tmp_path):
    with pytest.raises(MalTfError, match="no variant is called 'twice the bach'; there are: as configured, heads begin"):
        level.main("examples/kuairand/config.yaml", str(tmp_path), variants="twice the bach")
