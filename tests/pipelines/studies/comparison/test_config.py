import pathlib
import pickle
import re

import pytest
import yaml

from features.errors import MalTfError
from pipelines.studies.comparison import plan
from pipelines.studies.comparison.config import Comparison, Variant, load

DOCS = pathlib.Path(__file__).parents[4] / "docs/results.md"

BASIC = {"name": "x", "run": "config.yaml", "comparisons": [{"name": "t", "models": ["mal"], "primaries": ["last"]}]}


def written(project, **changes):
    project.write()
    path = project.folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(BASIC | changes))
    return str(path)


def table(**changes):
    return [BASIC["comparisons"][0] | changes]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"comparisons": table(slices=["shop"])},
            "slice 'shop' is neither path_length, information_gain nor a categorical feature",
        ),
        ({"comparisons": table(slices=["growth"])}, "slice 'growth' is now called 'information_gain'; rename it"),
        ({"comparisons": table(against="mal (all)")}, "unknown row 'mal \\(all\\)'; available: base, mal"),
        (
            {"comparisons": table(slices=["information_gain"]), "growth": {"wider": "position"}},
            "unknown mechanism 'position'",
        ),
        ({"comparisons": table(models=["deepfm"])}, "unknown model 'deepfm'"),
        ({"comparisons": table() + table()}, "given twice: t"),
        ({"seeds": [1, 2, 1]}, "given twice: 1"),
        ({"growth": {"bounds": [4, 2]}}, "expected ascending bounds, found 4, 2"),
        ({"tuning": {"learning_rates": [0.1], "primary": "last", "seeds": 4}}, "at most the 3 of seeds, found 4"),
        (
            {
                "comparisons": table(variants={"a": {"cat": False}})
                + table(name="u", variants={"a": {"single_attribution": True}}),
                "tuning": {"learning_rates": [0.1], "primary": "last", "variants": True},
            },
            "tuning.variants: 'mal \\(a\\)' is not the same in two comparisons",
        ),
        ({"sedes": [1]}, "did you mean 'seeds'"),
        ({"overrides": ["training.batch_sise=3"]}, "did you mean 'batch_size'"),
    ],
)
def test_says_what_is_wrong(project, changes, message):
    with pytest.raises(MalTfError, match=message):
        load(written(project, **changes))


@pytest.mark.parametrize(
    ("value", "message"), [(None, "model.compare_with: Input should be a valid tuple"), ("base", "model.compare_with")]
)
def test_a_runs_compare_with_that_is_no_list_is_named(project, value, message):
    with pytest.raises(MalTfError, match=message):
        load(written(project, overrides=[f"model.compare_with={'null' if value is None else value}"]))


def test_rows_are_models_times_variants_after_base():
    comparison = Comparison(
        name="t",
        models=("mal", "natal"),
        primaries=("last",),
        variants={"all": Variant(cat=False), "all + CAT": Variant()},
    )
    assert list(comparison.rows) == ["base", "mal (all)", "mal (all + CAT)", "natal (all)", "natal (all + CAT)"]


def test_a_variant_changes_what_it_names_alone(project):
    project.config["model"] |= {"cat": False}
    project.config["training"] |= {"gradients": "gcs", "learning_rate": 0.01, "embedding_learning_rate": 0.1}
    _, run = load(written(project))
    kept = plan.configured(run, "mal", "first", Variant(auxiliaries=("last",)), seed=5, rate=0.02)
    assert (kept.model.cat, kept.model.auxiliaries, kept.model.primary) == (False, ("last",), "first")
    assert (kept.training.gradients, kept.seed) == ("gcs", 5)
    assert kept.training.embedding_learning_rate == pytest.approx(0.2)
    assert plan.configured(run, "mal", "last", Variant(cat=True), seed=1).model.cat


def test_base_is_one_trial_whatever_the_variant(project):
    _, run = load(written(project))
    trials = [
        plan.Trial(plan.configured(run, "base", "last", variant, seed=1))
        for variant in (Variant(), Variant(cat=False, gradients="pcgrad"), Variant(auxiliaries=("first",)))
    ]
    assert len({str(trial.made_from("labels")) for trial in trials}) == 1


def test_an_auxiliary_that_is_the_primary_is_refused(project):
    _, run = load(written(project))
    with pytest.raises(MalTfError, match="model 'mal', primary target 'last': 'last' is the primary target"):
        plan.configured(run, "mal", "last", Variant(auxiliaries=("last",)), seed=1)


def test_best_rate_is_the_smaller_of_equals():
    aucs = {("mal", 0.01): 0.7, ("mal", 0.001): 0.7, ("base", 0.001): 0.6, ("base", 0.01): 0.65}
    assert plan.best_rates(aucs) == {"base": 0.01, "mal": 0.001}
    assert plan.best_rates(aucs | {("base", 0.01): None}) == {"base": 0.001, "mal": 0.001}
    with pytest.raises(MalTfError, match="no learning rate gave 'base' an AUC"):
        plan.best_rates({("base", 0.01): None})


def test_naming_all_others_is_the_same_trial_as_naming_none(project):
    _, run = load(written(project))
    named = Variant(auxiliaries=("mta", "first", "linear"))
    both = [plan.Trial(plan.configured(run, "mal", "last", variant, seed=1)) for variant in (Variant(), named)]
    assert both[0].made_from("labels") == both[1].made_from("labels")


def test_tuning_does_without_auto(project):
    project.config["model"]["auxiliaries"] = "auto"
    config, run = load(written(project, tuning={"learning_rates": [0.1], "primary": "last"}))
    assert {trial.config.targets for (trial,) in plan.tuning_trials(config, run).values()} == {
        ("last",),
        ("first", "last", "linear", "mta"),
    }


def test_each_variant_is_tuned_with_some_of_the_seeds_and_has_its_own_rate(project):
    variants = {"": {}, "auto": {"auxiliaries": "auto"}, "single": {"single_attribution": True}}
    tuning = {"learning_rates": [0.1, 0.2], "primary": "last", "variants": True, "seeds": 2}
    config, run = load(written(project, tuning=tuning, seeds=[5, 6, 7], comparisons=table(variants=variants)))
    trials = plan.tuning_trials(config, run)
    assert list(trials) == [(row, rate) for row in ("base", "mal", "mal (auto)", "mal (single)") for rate in (0.1, 0.2)]
    assert {tuple(one.config.seed for one in ones) for ones in trials.values()} == {(5, 6)}
    assert trials["mal (single)", 0.1][0].config.model.single_attribution
    assert trials["mal (auto)", 0.1] == trials["mal", 0.1]
    rows = plan.row_trials(config, run, config.comparisons[0], {"mal": 0.1, "mal (single)": 0.2})
    assert [rows["last", row][0].config.training.learning_rate for row in ("mal", "mal (single)")] == [0.1, 0.2]


def test_a_rate_without_an_auc_at_some_seed_has_none():
    assert plan.mean_auc([{"auc": 0.5}, {"auc": 0.75}]) == 0.625
    assert plan.mean_auc([{"auc": 0.5}, {"auc": None}]) is None


def test_a_trial_reaches_a_worker_process_as_it_is(project):
    _, run = load(written(project))
    trial = plan.Trial(plan.configured(run, "natal", "mta", Variant(cat=False), seed=3), held_out=2)
    assert pickle.loads(pickle.dumps(trial)) == trial


def test_the_example_of_the_docs_is_valid(project):
    project.write()
    path = project.folder / "benchmark.yaml"
    path.write_text(re.search(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)[1])
    config, run = load(str(path))
    assert [len(plan.row_trials(config, run, comparison, {})) for comparison in config.comparisons] == [4]
