import itertools
import json
import pathlib
import shutil

import pytest

from features.errors import Busy, MalTfError
from pipelines.clicks.predict import find_saved_model as newest
from pipelines.core import locks
from pipelines.retrain import serving
from tests.pipelines.retrain.faults import killed, with_full_disk


def lineage(span):
    return {"span": span, "model": f"/runs/{span}/serving/mal/1", "run": f"/runs/{span}"}


def model(folder, content):
    """A directory with the files of a SavedModel, each with bytes of its own."""
    path = pathlib.Path(folder, f"model-{content}")
    for name in (
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets/item.txt",
        "assets.extra/tf_serving_warmup_requests",
    ):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(f"{content} {name} ".encode() * 200)
    return str(path)


def files(directory):
    """Bytes by path of all that is in a directory but the lock."""
    found = (path for path in pathlib.Path(directory).rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found if path.name != locks.LOCK}


def served(directory):
    """By version as TensorFlow Serving sees it, its files without the lineage."""
    found = {}
    for path in pathlib.Path(directory).iterdir():
        if path.name.isdigit():
            found[int(path.name)] = {name: data for name, data in files(path).items() if name != serving.LINEAGE}
    return found


@pytest.fixture
def place(tmp_path):
    """An empty directory of versions, and models a to d."""
    return str(tmp_path / "serving"), {content: model(tmp_path, content) for content in "abcd"}


def push_all(directory, models, contents):
    for content in contents:
        serving.push(models[content], directory, lineage(content))


def test_versions_count_up_and_say_what_made_them(place):
    directory, models = place
    assert (serving.versions(directory), serving.current(directory)) == ([], None)
    assert [serving.push(models[c], directory, lineage(c)) for c in "abc"] == [1, 2, 3]
    assert served(directory) == {1: files(models["a"]), 2: files(models["b"]), 3: files(models["c"])}
    assert [(v.number, v.lineage) for v in serving.versions(directory)] == [
        (1, lineage("a")),
        (2, lineage("b")),
        (3, lineage("c")),
    ]
    assert serving.current(directory) == serving.Version(3, f"{directory}/3", lineage("c"))


def test_numbers_are_compared_as_numbers_and_one_that_is_taken_is_never_used(place):
    directory, models = place
    shutil.copytree(models["a"], f"{directory}/9")
    pathlib.Path(directory, "10").mkdir()  # Somebody's, and not complete.
    pathlib.Path(directory, "notes").mkdir()
    assert serving.current(directory) == serving.Version(9, f"{directory}/9", {})
    assert serving.push(models["b"], directory, lineage("b")) == 11
    assert newest(directory) == serving.current(directory).path == f"{directory}/11"


def test_a_push_that_was_decided_on_before_a_rollback_is_none(place):
    directory, models = place
    push_all(directory, models, "ab")
    serving.rollback(directory)
    with pytest.raises(Busy, match="version 3 serves now, but 2 served"):
        serving.push(models["c"], directory, lineage("c"), 2)
    assert serving.push(models["c"], directory, lineage("c"), 3) == 4


@pytest.mark.parametrize("truth", itertools.product([True, False], repeat=4))
def test_only_what_is_blessed_servable_clean_and_fresh_gets_into_the_directory(place, truth):
    blessed, infra, anomalies, stale = truth
    directory, models = place
    push_all(directory, models, "a")
    before = files(directory)
    reasons = serving.may_push(blessed, infra, anomalies, stale)
    if not reasons:
        serving.push(models["b"], directory, lineage("b"))
    if truth == (True, True, False, False):
        assert served(directory) == {1: files(models["a"]), 2: files(models["b"])}
    else:
        assert files(directory) == before
        words = {"blessed": not blessed, "infra": not infra, "anomalies": anomalies, "stale": stale}
        assert len(reasons) == sum(words.values())
        assert all(any(word in reason for reason in reasons) == holds for word, holds in words.items())


CHANGES = {
    "push": (
        lambda directory, models: serving.push(models["d"], directory, lineage("d")),
        {1: "a", 2: "b", 3: "c", 4: "d"},
    ),
    "rollback": (lambda directory, _: serving.rollback(directory, to=1), {1: "a", 2: "b", 3: "c", 4: "a"}),
    "retain": (lambda directory, _: serving.retain(directory, keep=1), {3: "c"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_killed_at_each_file_operation_every_version_is_whole_and_the_next_call_ends_it(place, name, tmp_path):
    directory, models = place
    change, after = CHANGES[name]
    push_all(directory, models, "abc")
    shutil.copytree(directory, tmp_path / "before")
    contents = {content: files(path) for content, path in models.items()}
    done = {number: contents[content] for number, content in after.items()}

    def prepare():
        shutil.rmtree(directory)
        shutil.copytree(tmp_path / "before", directory)

    served_before, seen = served(directory), set()
    for _ in killed(lambda: change(directory, models), prepare):
        left = served(directory)
        assert all(left[number] == (served_before | done)[number] for number in left)
        assert left.keys() >= served_before.keys() & done.keys()
        assert serving.current(directory).number == max(left)
        seen.add(tuple(sorted(left)))
        change(directory, models)
        assert served(directory) == done
        assert {path.name for path in pathlib.Path(directory).iterdir()} == {*map(str, done), locks.LOCK}
    assert served(directory) == done
    assert {tuple(sorted(served_before)), tuple(sorted(done))} <= seen  # Killed before it began to count, and after.


def test_a_full_disk_leaves_what_served(place, tmp_path):
    directory, models = place
    push_all(directory, models, "a")
    before = files(directory)

    def push():
        with pytest.raises(
            MalTfError, match="its versions can't be changed: .*File too large.* the serving model is unchanged"
        ):
            serving.push(models["b"], directory, lineage("b"))

    with_full_disk(push, 1000)
    assert files(directory) == before


def test_two_at_once_are_one_and_a_message(place):
    directory, models = place
    push_all(directory, models, "ab")
    before = files(directory)
    with locks.lock(directory):
        for change, _ in CHANGES.values():
            with pytest.raises(MalTfError, match="is in use by process"):
                change(directory, models)
    assert files(directory) == before


def test_other_contents_under_the_same_lineage_are_a_new_version(place, tmp_path):
    directory, models = place
    push_all(directory, models, "aa")
    assert list(served(directory)) == [1]
    pathlib.Path(models["a"], "variables/variables.index").write_bytes(b"trained again")
    push_all(directory, models, "a")
    assert served(directory)[2] == files(models["a"])


def test_a_repeated_push_does_not_undo_a_rollback(place):
    directory, models = place
    push_all(directory, models, "ab")
    serving.rollback(directory)
    with pytest.raises(
        MalTfError, match="was already pushed as version 2, and version 3 serves since; .* roll back to 2"
    ):
        serving.push(models["b"], directory, lineage("b"))
    assert serving.push(models["a"], directory, lineage("a")) == 3
    assert sorted(served(directory)) == [1, 2, 3]


def test_what_is_no_model_is_not_pushed(place, tmp_path):
    with pytest.raises(MalTfError, match=r"expected a SavedModel to push, found no saved_model\.pb"):
        serving.push(str(tmp_path), place[0], lineage("a"))


def test_rollbacks_go_back_one_model_each_and_never_to_one_that_was_rolled_back(place):
    directory, models = place
    push_all(directory, models, "ab")
    back = serving.rollback(directory)
    assert (back.number, back.lineage) == (3, lineage("a") | {"rolled_back_from": 2, "copy_of": 1})
    with pytest.raises(MalTfError, match="no version is earlier than 1, whose model serves as 3; .*: 1, 2, 3"):
        serving.rollback(directory)
    push_all(directory, models, "cd")
    assert [serving.rollback(directory).number for _ in range(2)] == [6, 7]
    assert {number: data["saved_model.pb"][:1] for number, data in sorted(served(directory).items())} == {
        1: b"a",
        2: b"b",
        3: b"a",
        4: b"c",
        5: b"d",
        6: b"c",
        7: b"a",
    }
    assert serving.current(directory).lineage == lineage("a") | {"rolled_back_from": 6, "copy_of": 1}
    assert files(directory).keys() >= {f"7/{name}" for name in [*files(models["a"]), serving.LINEAGE]}


def test_rollback_to_a_version(place):
    directory, models = place
    push_all(directory, models, "abc")
    assert serving.rollback(directory, to=1).number == 4
    assert serving.rollback(directory, to=1).number == 4  # It serves that model already.
    assert serving.rollback(directory, to=3).lineage == lineage("c") | {"rolled_back_from": 4, "copy_of": 3}
    with pytest.raises(MalTfError, match="there is no version 8 to roll back to; complete versions: 1, 2, 3, 4, 5"):
        serving.rollback(directory, to=8)


def test_nothing_to_roll_back(tmp_path):
    with pytest.raises(MalTfError, match="expected a serving version"):
        serving.rollback(str(tmp_path))


@pytest.mark.parametrize("keep, left", [(0, [3]), (1, [3]), (2, [2, 3]), (3, [1, 2, 3]), (9, [1, 2, 3])])
def test_the_oldest_go_and_what_serves_stays(place, keep, left):
    directory, models = place
    push_all(directory, models, "abc")
    assert serving.retain(directory, keep) == sorted({1, 2, 3} - set(left))
    assert sorted(served(directory)) == left


def test_a_lineage_that_is_no_json_is_named(place):
    directory, models = place
    push_all(directory, models, "a")
    pathlib.Path(directory, "1", serving.LINEAGE).write_text(json.dumps(lineage("a"))[:-1])
    with pytest.raises(MalTfError, match=r"1/assets\.extra/lineage\.json: expected JSON"):
        serving.current(directory)
