"""Adapter `mac`: the release's files to labels, in their order, and to a model."""

import copy
import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from features.errors import MalTfError
from features.keras2 import tf
from features.lookup import lookup_model
from features.parsing import parse_features
from pipelines.cli import app
from pipelines.clicks import labelled
from pipelines.config.labels import TFRecordsConfig
from pipelines.config.run import RunConfig, dump, load
from pipelines.core import manifest
from pipelines.labels import run
from tests.pipelines.labels.sources import mac

EXAMPLES = pathlib.Path(__file__).parents[4] / "examples/mac"


def configured(folder, **changes):
    (folder / "config.yaml").write_text(yaml.safe_dump(copy.deepcopy(mac.CONFIG) | changes))
    return str(folder / "config.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mac")
    tables = mac.write(folder / "data")
    config = load(configured(folder))
    report = run.run(config, str(folder / "labels"))
    return folder, tables, config, report


def rows(paths):
    """Serialized clicks of files, one after the other."""
    return [record.numpy() for path in paths for record in tf.data.TFRecordDataset(path, "GZIP")]


def test_a_segment_a_day_in_the_order_of_the_file(finished):
    folder, tables, config, report = finished
    data = labelled.load(str(folder / "labels"), config.feature_spec)
    assert [len(segment) for segment in data.splits["train"].segments] == [1, 1, 1]
    assert [len(segment) for segment in data.splits["eval"].segments] == [1]
    assert (data.splits["train"].rows, data.splits["eval"].rows) == (450, 150)
    assert report["clicks"]["written"] == report["clicks"]["read"] == 600
    segments = [*data.splits["train"].segments, *data.splits["eval"].segments]
    parsing = {"click_id": tf.io.FixedLenFeature([], tf.string), "user_id": tf.io.FixedLenFeature([], tf.string)}
    parsing |= {name: tf.io.FixedLenFeature([], tf.int64) for name in ("timestamp", "path_length", "mature")}
    times = []
    for segment, table, stem in zip(segments, tables, ("train-00", "train-01", "train-02", "test"), strict=True):
        found = {k: v.numpy() for k, v in tf.io.parse_example(rows(segment), parsing).items()}
        assert found["user_id"].astype(str).tolist() == table["user_id"].to_pylist()
        assert found["click_id"].astype(str).tolist() == [f"{stem}:{row}" for row in range(1, 151)]
        assert (found["mature"] == 1).all() and (found["path_length"] == 0).all()
        times += found["timestamp"].tolist()
    assert times == sorted(set(times))


def test_labels_credits_and_cat_classes(finished):
    folder, tables, config, report = finished
    data = labelled.load(str(folder / "labels"), config.feature_spec)
    names = ("last", "first", "linear", "mta")
    parsing = {f"{kind}_{m}": tf.io.FixedLenFeature([], tf.float32) for kind in ("label", "credit") for m in names}
    parsing["label_cat"] = tf.io.FixedLenFeature([], tf.int64)
    found = {k: v.numpy() for k, v in tf.io.parse_example(rows(data.splits["eval"].segments[0]), parsing).items()}
    cat = np.zeros(150, np.int64)
    for bit, name in enumerate(names):
        credit = tables[-1][name].to_numpy()
        np.testing.assert_array_equal(found[f"credit_{name}"], credit)
        np.testing.assert_array_equal(found[f"label_{name}"], np.minimum(credit, 1))
        assert report["splits"]["eval"]["mechanisms"][name]["positives"] == (credit > 0).sum()
        cat += (credit > 0) << bit
    np.testing.assert_array_equal(found["label_cat"], cat)


def test_unknown_tokens_are_oov_and_histories_share_the_tables(finished):
    folder, tables, config, _ = finished
    spec, table = config.feature_spec, tables[0]
    data = labelled.load(str(folder / "labels"), spec)
    assert data.vocabularies["ad_feat0"] == [str(token) for token in range(8, -1, -1)]
    parsed = parse_features(tf.constant(rows(data.splits["train"].segments[0])), spec)
    found = {name: value.numpy() for name, value in lookup_model(spec, data.vocabularies)(parsed).items()}
    row_of = np.array([0, *(10 - t for t in range(1, 9)), 1])  # By token: 0 is padding, 9 is unknown.
    for name in mac.SCALARS:
        np.testing.assert_array_equal(found[name], row_of[table[name].to_numpy().astype(int)])
    for name in mac.HISTORIES:
        np.testing.assert_array_equal(found[name], row_of[np.array(table[name].to_pylist()).astype(int)])
    for name in mac.SIMILARITIES:
        np.testing.assert_array_equal(found[name], np.array(table[name].to_pylist(), "f"))


def test_the_same_bytes_twice(finished):
    folder, _, config, _ = finished
    run.run(config, str(folder / "again"))
    first, second = (manifest.read(str(folder / name)) for name in ("labels", "again"))
    assert first.pop("seconds").keys() == second.pop("seconds").keys()
    assert first == second
    for entry in [*first["files"], *first["other_files"]]:
        assert (folder / "labels" / entry["path"]).read_bytes() == (folder / "again" / entry["path"]).read_bytes()


def test_a_run_from_files_to_a_served_model(finished):
    folder, *_ = finished
    app(["run", configured(folder), "--output", str(folder / "run")], standalone_mode=False)
    metrics = json.loads((folder / "run/evaluate/metrics.json").read_text())
    assert metrics["models"]["mal"]["clicks"] == 150
    assert (folder / "run/serving/mal/1/saved_model.pb").exists()


@pytest.fixture
def release(tmp_path):
    mac.write(tmp_path / "data", days=2, rows=8)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("train/train-00.parquet", "expected .*train-00.parquet, found .*train-01.parquet"),
        ("test/test.parquet", "no file matches '.*test.parquet'"),
        ("vocabs/ad_feat3.json", "no file matches '.*ad_feat3.json'"),
    ],
)
def test_missing_files(release, path, message):
    (release / "data" / path).unlink()
    with pytest.raises(MalTfError, match=message):
        run.run(load(configured(release)), str(release / "labels"))
    assert not (release / "labels").exists()


def spoil(release, change):
    path = release / "data/train/train-01.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def values(name, new):
    def change(table):
        place = table.schema.get_field_index(name)
        column = pa.array([*table[name].to_pylist()[:5], new, *table[name].to_pylist()[6:]], table[name].type)
        return table.set_column(place, name, column)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(["context_feat2"]), "train-01.*column 'context_feat2' of the clicks table is missing"),
        (lambda t: t.drop(["ad_feat1_seq"]), "train-01.*history column 'ad_feat1_seq' is missing"),
        (lambda t: t.drop(["mta"]), "train-01.*column 'mta' of the clicks table is missing"),
        (values("mta", -0.5), "train-01.parquet, row 6: column 'mta': expected a credit ≥ 0, found -0.5"),
        (values("mta", None), "train-01.parquet, row 6: column 'mta': expected a credit ≥ 0, found nan"),
        (values("user_id", None), "train-01.parquet, row 6: user_id is null"),
        (
            lambda t: t.set_column(t.schema.get_field_index("ad_feat0_seq"), "ad_feat0_seq", t["ad_feat0"]),
            "column 'ad_feat0_seq': expected lists of strings, found string",
        ),
    ],
)
def test_days_that_are_not_as_they_should_be(release, change, message):
    spoil(release, change)
    with pytest.raises(MalTfError, match=message):
        run.run(load(configured(release)), str(release / "labels"))
    assert not (release / "labels/manifest.json").exists()


def test_a_vocabulary_that_is_none(release):
    (release / "data/vocabs/ad_feat3.json").write_text("[1, 2]")
    with pytest.raises(MalTfError, match=r"ad_feat3\.json: expected a JSON object of index by token"):
        run.run(load(configured(release)), str(release / "labels"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("attribution.window_hours=12", "attribution.window_hours has no effect with adapter 'mac'"),
        ("labels={eval_from: 2023-11-17T00:00:00+00:00}", "labels has no effect with adapter 'mac'"),
        ("vocabulary.min_count=2", "vocabulary.min_count has no effect"),
        ("features.0.max_size=5", "user_feat0.max_size has no effect"),
        (
            "attribution.mechanisms.1.type=first",
            "mechanism 'first': expected type 'ready', found 'first'; adapter 'mac' has ready-made labels",
        ),
        ("attribution.mechanisms.1.window_hours=3", "ready-made labels take no parameters, no window"),
        ("features.0.dtype=int64", "feature 'user_feat0': adapter 'mac' has only categorical features of strings"),
        (
            "features.16.events=conversions",
            "feature 'ad_feat0_seq': adapter 'mac' has only categorical features of strings",
        ),
        ("sources.foldre=x", "unknown key 'foldre'; did you mean 'folder'"),
    ],
)
def test_refuses_what_has_no_effect(tmp_path, override, message):
    with pytest.raises(MalTfError, match=message):
        load(configured(tmp_path), [override])


def test_other_sources_have_no_ready_made_labels(project):
    config = project.write()
    with pytest.raises(MalTfError, match="mechanism 'first': adapter 'tables' has no ready-made labels"):
        load(config, ["attribution.mechanisms.0={name: first, type: ready}"])
    with pytest.raises(MalTfError, match="attribution.window_hours is missing"):
        load(config, ["attribution.window_hours=null"])
    with pytest.raises(MalTfError, match="labels is missing"):
        load(config, ["labels=null"])


def test_reads_back_what_it_dumps(tmp_path):
    config = load(configured(tmp_path))
    assert config.sources.folder == str(tmp_path / "data")
    assert RunConfig.model_validate(yaml.safe_load(dump(config))) == config


@pytest.mark.parametrize("target", mac.LABELS)
def test_examples_read_the_release_with_the_published_settings(target, tmp_path):
    shutil.copy(EXAMPLES / f"{target}.yaml", tmp_path)
    config = load(str(tmp_path / f"{target}.yaml"))
    assert config.model.primary == target and config.model.compatibility == "pymal"
    rate, weight = {"last": (4e-3, 0.3), "first": (3e-3, 0.1), "mta": (3.5e-3, 0.3), "linear": (3.5e-3, 0.2)}[target]
    training = config.training
    assert (training.learning_rate, training.auxiliary_weight, training.cat_weight) == (rate, weight, weight)
    assert training.embedding_learning_rate == pytest.approx(10 * rate)
    assert set(config.targets) == ({"first", "last"} if target == "first" else set(mac.LABELS))
    assert [f.name for f in config.features] == [f["name"] for f in mac.CONFIG["features"]]


def test_a_hashed_feature_needs_no_vocabulary(tmp_path):
    mac.write(tmp_path / "data", days=1, rows=20)
    (tmp_path / "data/vocabs/ad_feat0.json").unlink()
    features = [f | {"hash_lookups": 2} if f["name"] == "ad_feat0" else f for f in mac.CONFIG["features"]]
    config = load(configured(tmp_path, features=features, vocabulary={"hash_buckets": 50}))
    run.run(config, str(tmp_path / "labels"))
    vocabularies = labelled.load(str(tmp_path / "labels"), config.feature_spec).vocabularies
    assert sorted(vocabularies) == sorted(set(mac.SCALARS) - {"ad_feat0"})


def test_the_training_table(finished):
    folder, tables, config, _ = finished
    config = config.model_copy(update={"tfrecords": TFRecordsConfig(also="parquet")})
    run.run(config, str(folder / "also"))
    found = pq.read_table(folder / "also" / "table").to_pandas()
    assert found["segment"].value_counts().to_dict() == {0: 300, 1: 150, 2: 150}
    last = found[found["split"] == "eval"].sort_values("timestamp")
    assert last["credit_linear"].tolist() == tables[-1]["linear"].to_pylist()
    assert len([e for e in manifest.read(str(folder / "also"))["other_files"] if e["path"].startswith("table/")]) == 4
