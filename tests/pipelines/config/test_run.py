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
        (
            "model.experts=4",
            "model: 'experts' has no effect on mal, base: it is a key of mmoe; remove it, or train one of",
        ),
        (
            "model={name: base, primary: last, compare_with: [base], experts: 4}",
            "'experts' has no effect on base: it is a",
        ),
        ("model.attention_unit=[4]", "model: unknown key 'attention_unit'; did you mean 'attention_units'?"),
        ("model.fusion_units=[0]", "model.fusion_units.0: Input should be greater than 0; found 0"),
        ("export.user_features=[age]", "export.user_features: unknown feature 'age'; available: place, item, price"),
        (
            "export.user_features=[place, item, price, clicked_items]",
            "expected at least one feature of the ad, found all",
        ),
        (
            "calibration={method: platt, by: price}",
            "calibration.by: 'price' is not a categorical feature; available: place, item",
        ),
        ("calibration={method: plat}", "calibration.method"),
        ("calibration={}", "calibration.method"),
        ("labels.eval_from=2022-01-01", "labels.eval_from: needs a time zone"),
        ("labels.observed_before=2023-11-18T00:00:00Z", "expected observed_until or observed_before, found both"),
        ("training.batch_size=many", "unable to parse string as an integer; found 'many'"),
        ("sources.time_unit=sec", "sources.time_unit: Input should be 's', 'ms', 'us' or 'ns'; found 'sec'"),
        ("sources.adapter=table", "sources: unknown source adapter 'table'; did you mean 'tables'? Known:"),
        (
            "features.0.type=categoric",
            "features.0: unknown feature type 'categoric'; did you mean 'categorical'? Known:",
        ),
        (
            "features.0.type=shop.features:Hour",
            "features.0: feature type 'shop.features:Hour' can't be imported: No module",
        ),
        ("features.0.type=[categorical]", "features.0: type is missing: one of categorical"),
        ("sources.adapter=[tables]", "sources: adapter is missing: one of"),
        ("features.0.type=decimal:Decimal", "'decimal:Decimal' is not a subclass of features.feature.Feature"),
        ("sources.clicks.columns.touchpoint=[]", "'mta' is data-driven and needs"),
        ("sources.conversions.columns.match_key=[]", "match_key"),
        ("nonsense", "expected key=value"),
        (
            "labels.eval_from=20240108",
            "labels.eval_from: expected a time such as 2024-01-08T00:00:00+00:00, found the bare",
        ),
        (
            "labels.observed_until='1704672000'",
            "labels.observed_until: expected a time such as 2024",
        ),
        ("labels.train_from=1.7e9", "labels.train_from: expected a time such as"),
        (
            "labels.without_days=20240108",
            "labels.without_days.0: expected a day such as 2024-01-08, found the bare number",
        ),
        ("labels.without_days=[2024-01-08, 19730]", "labels.without_days.1: expected a day such as"),
        (
            "labels.segment_hours=1e-9",
            "labels.segment_hours: expected hours, from 1/3600 (a second) to 2,000,000; found 1e-09",
        ),
        ("labels.segment_hours=1e+300", "labels.segment_hours: expected hours"),
        ("attribution.window_hours=1e-300", "attribution.window_hours: expected hours"),
        ("attribution.mechanisms.0.window_hours=5e-324", "attribution.mechanisms.0.window_hours: expected hours"),
        ("attribution.window_hours=-1", "attribution.window_hours: expected hours"),
        ("attribution.window_hours=.nan", "attribution.window_hours: Input should be a finite number"),
        ("labels={shards: 1, shards: 2}", "--set labels: not valid YAML: key 'shards' is given twice"),
        ("labels=&l {shards: *l}", "--set labels: not valid YAML: an anchor contains an alias of itself"),
        ("seed=[", "--set seed: not valid YAML"),
        ("features.-1.name=x", "--set features.-1.name=x: the config has no such key"),
        (
            "attribution.mechanisms.9.type=x",
            "'attribution.mechanisms' is a list of 4, whose places are 0 to 3; found 9",
        ),
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
    two = ["model.categories={a: [first, last]}", "model.compare_with=[home]"]
    assert load(project.write(), [*two, "model.auxiliaries=[first]"]).targets == ("first", "last")
    with pytest.raises(MalTfError, match="model.categories: none has target 'linear'; categories: a"):
        load(project.write(), [*two, "model.auxiliaries=auto"])


def test_auto_is_resolved_before_anything_reads_the_targets(project):
    config = load(project.write(), ["model.auxiliaries=auto"])
    assert RunConfig.model_validate(yaml.safe_load(dump(config))) == config
    with pytest.raises(MalTfError, match="auto: select them first"):
        _ = config.targets
    assert config.with_auxiliaries(["mta", "first"]).targets == ("first", "last", "mta")
    assert config.with_auxiliaries([]).targets == ("last",)


def test_overrides_and_reads_back_what_it_dumps(project):
    config = load(project.write(), ["training.batch_size=32", "model.auxiliaries=[mta]"])
    assert config.training.batch_size == 32
    assert config.targets == ("last", "mta")
    assert RunConfig.model_validate(yaml.safe_load(dump(config))) == config


def test_a_directory_is_no_config(project):
    with pytest.raises(MalTfError, match="expected a config file, found a directory"):
        load(str(project.folder))


def test_paths_are_relative_to_the_file(project):
    config = load(project.write(), ["training.warm_start=../earlier", "attribution.fit_from=/fits"])
    assert config.sources.clicks.files == (str(project.folder / "clicks*.parquet"),)
    assert config.training.warm_start == str(project.folder.parent / "earlier")
    assert config.attribution.fit_from == "/fits"


def test_a_run_of_an_earlier_version_is_read(project):
    """Its models had all keys."""
    data = yaml.safe_load(dump(load(project.write())))
    data["model"] |= {"experts": 2, "levels": 2}
    (project.folder / "run").mkdir()
    (project.folder / "run/config.yaml").write_text(yaml.safe_dump(data))
    assert RunConfig.from_run(str(project.folder / "run")) == load(project.write())
    with pytest.raises(MalTfError, match="'experts' has no effect"):
        load(str(project.folder / "run/config.yaml"))
