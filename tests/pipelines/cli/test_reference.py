import pathlib

import pytest

from pipelines.cli import reference
from pipelines.config.evaluation import EvaluationConfig
from tests.support.project import CONFIG

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_document_is_made_from_the_docstrings():
    """Also: every key of every block has a meaning."""
    assert DOCUMENT.read_text() == reference.markdown(), "python -m pipelines.cli.reference > docs/configuration.md"


def test_keys_of_every_depth_stand_in_it():
    text = reference.markdown()
    for key in (*CONFIG, "checkpoint", "min_count", "conversion_id", "fit_from", "hash_lookups"):
        assert f"| `{key}` |" in text
    for place in ("`sources`: `kuairand`", "`attribution.mechanisms`", "`gates.slices`", "`comparisons.variants`"):
        assert f"### {place}" in text


@pytest.mark.parametrize(
    "row",
    [
        "| `quantiles` | `4` | number of slices by a numeric feature, of about equal size. |",
        "| `age_days` | `[1, 2, 4, 7]` | ascending bounds, in days, between slices by click age. |",
        "| `dtype` | `string` | type of the token in the tf.Example. One of `string`, `int64`. |",
    ],
)
def test_a_row_has_default_meaning_and_what_it_may_be(row):
    assert row in reference.markdown()


def test_meanings_go_on_over_lines():
    assert reference.meanings(EvaluationConfig)["bootstrap_samples"].endswith("the smallest p-value is 2 / (B + 1).")
