import pytest
import yaml

from features.errors import MalTfError
from pipelines.config.run import RunConfig, dump, load


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.bach_size=3", "training: unknown key 'bach_size'; did you mean 'batch_size'?"),
        ("attribution.mechanisms.0.typ=x", "attribution.mechanisms.0: unknown key 'typ'; did you mean 'type'?"),
        ("attribution.mechanisms.0.type=x", "unknown attribution mechanism 'x'; Known: first, last"),
        ("features.3.of=colour", "history 'clicked_items' is of unknown feature 'colour'"),
        ("model.primary=x", "unknown target 'x'"),
        ("model.auxiliaries=[last, x]", "'last' is the primary target"),
        ("model.auxiliaries=all", "model.auxiliaries: expected a list of mechanisms or 'auto', found 'all'"),
        ("model.categories={a: [first, last, mta]}", "model.categories: none has target 'linear'; categories: a"),
        ("export.user_features=[age]", "export.user_features: unknown feature 'age'; there are: place, item, price"),
        ("export.user_features=[place, item, price, clicked_items]", "expected at least one of the ad"),
        (
            "calibration={method: platt, by: price}",
            "calibration.by: 'price' is no categorical feature; there are: place, item",
        ),
        ("calibration={method: plat}", "calibration.method"),
        ("calibration={}", "calibration.method"),
        ("labels.eval_from=2022-01-01", "labels.eval_from: needs a time zone"),
        ("training.batch_size=many", "unable to parse string as an integer; found 'many'"),
        ("sources.time_unit=sec", "sources.time_unit: Input should be 's', 'ms' or 'us'; found 'sec'"),
        ("sources.adapter=table", "sources: adapter 'table' is not known; there are: tables, kuairand, mac"),
        ("sources.clicks.columns.touchpoint=[]", "'mta' is data-driven and needs"),
        ("sources.conversions.columns.match_key=[]", "match_key"),
        ("nonsense", "expected key=value"),
    ],
)
def test_says_what_is_wrong_and_where(project, override, message):
    with pytest.raises(MalTfError) as error:
        load(project.write(), [override])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("lookups", "found"), [((2, 1), "place 4 / 2, item 4 / 1"), ((3, 3), "place 4 / 3, item 4 / 3")]
)
def test_hashed_features_must_fit_one_table(project, lookups, found):
    for feature, number in zip(project.config["features"], lookups, strict=False):
        feature["hash_lookups"] = number
    with pytest.raises(MalTfError, match=f"to be a whole number, the same for all; found {found}"):
        load(project.write(), ["vocabulary.hash_buckets=10"])


def test_queries_and_categories_are_held_to_features_and_targets(project):
    multi_head = ["model.attention=multi_head", "model.query=[item, shop]"]
    with pytest.raises(
        MalTfError, match="model.query: no categorical or numeric feature 'shop'; there are: place, item"
    ):
        load(project.write(), multi_head)
    two = "model.categories={a: [first, last]}"
    assert load(project.write(), [two, "model.auxiliaries=[first]"]).targets == ("first", "last")
    with pytest.raises(MalTfError, match="none has target 'linear'"):
        load(project.write(), [two, "model.auxiliaries=auto"])


def test_auto_is_resolved_before_anything_reads_the_targets(project):
    config = load(project.write(), ["model.auxiliaries=auto"])
    assert RunConfig.model_validate(yaml.safe_load(dump(config))) == config
    with pytest.raises(MalTfError, match="auto: choose them first"):
        _ = config.targets
    assert config.resolved(["mta", "first"]).targets == ("first", "last", "mta")
    assert config.resolved([]).targets == ("last",)


def test_overrides_and_reads_back_what_it_dumps(project):
    config = load(project.write(), ["training.batch_size=32", "model.auxiliaries=[mta]"])
    assert config.training.batch_size == 32
    assert config.targets == ("last", "mta")
    assert RunConfig.model_validate(yaml.safe_load(dump(config))) == config


def test_a_directory_is_no_config(project):
    with pytest.raises(MalTfError, match="expected a config file, found a directory"):
        load(str(project.folder))


def test_paths_are_relative_to_the_file(project):
    assert load(project.write()).sources.clicks.files == (str(project.folder / "clicks*.parquet"),)


def test_on_is_a_word_and_true_is_not(tmp_path):
    from features.frozen import Frozen
    from pipelines.core import yaml_config

    class Settings(Frozen):
        on: str
        cat: bool
        names: tuple[str, ...]

    (tmp_path / "c.yaml").write_text("on: yes\ncat: true\nnames: [no, off, y]\n")
    found = yaml_config.read(Settings, str(tmp_path / "c.yaml"), ["cat=false"])
    assert found == Settings(on="yes", cat=False, names=("no", "off", "y"))
