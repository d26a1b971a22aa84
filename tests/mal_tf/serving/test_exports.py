"""Exports as they are loaded and asked for predictions."""

import subprocess
import sys

import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.serving.exports import Exports, load


class Length(tf.Module):
    """A CVR that is a variable times the length of the tf.Example; longer ones than 8 bytes are refused."""

    def __init__(self, factor):
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples):
        length = tf.strings.length(examples)
        with tf.control_dependencies([tf.debugging.assert_less(length, 9, "the example is too long")]):
            return {"cvr": self.factor * tf.cast(length, tf.float32)}


def save(path, factor, signature="serving_default"):
    model = Length(factor)
    tf.saved_model.save(model, str(path), {signature: model.serve})
    return str(path)


@pytest.fixture
def versions(tmp_path):
    return {"one": save(tmp_path / "one", 1.0), "half": save(tmp_path / "half", 0.5)}


def test_every_model_scores_every_click(versions):
    found = Exports(versions).predict(tf.constant(["abc", "", "defgh"]), "here")
    assert list(found) == ["one", "half"]
    np.testing.assert_array_equal(found["one"], np.float32([3, 0, 5]))
    np.testing.assert_array_equal(found["half"], np.float32([1.5, 0, 2.5]))
    assert Exports({}).predict(tf.constant(["abc"]), "here") == {}


def test_a_model_that_fails_is_named_with_the_place(versions):
    with pytest.raises(MalTfError, match=r"^model 'one' can't score day\.gz: .*the example is too long"):
        Exports(versions).predict(tf.constant(["abcdefghijk"]), "day.gz")


def test_what_is_no_export_is_named(tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half/saved_model.pb").write_bytes(b"half of a mod")
    for name in ("half", "none"):
        with pytest.raises(
            MalTfError, match=f"^model 'm': {tmp_path}/{name}: expected a SavedModel: .*; export it again"
        ):
            Exports({"m": str(tmp_path / name)})
    with pytest.raises(MalTfError, match=f"^{tmp_path}/none: expected a SavedModel: "):
        load(str(tmp_path / "none"))
    other = save(tmp_path / "other", 1.0, "other")
    with pytest.raises(MalTfError, match=r"other: expected the signature serving_default, found: other; export it"):
        Exports({"m": other})
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/saved_model.pb").write_bytes(b"")
    with pytest.raises(MalTfError, match="empty: expected a SavedModel: .* 0 MetaGraphs"):
        load(str(tmp_path / "empty"))


def test_a_missing_model_is_named_by_its_own_path_and_stays_missing(tmp_path):
    missing = f"{tmp_path}/runs[1]/model"
    with pytest.raises(MalTfError) as caught:
        load(missing)
    assert str(caught.value).count(missing) == 2 and "link" not in str(caught.value)
    assert not list(tmp_path.iterdir())


CLICKS, TEXT = tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.string)
OTHERS = {
    "another output": ("serving_default", {"examples": TEXT}, lambda x: {"scores": tf.zeros(tf.shape(x))}, "'cvr', .* scores: "),
    "several numbers": ("predict_raw", {"place": TEXT}, lambda x: {"cvr": tf.zeros([1, 2])}, r"'cvr', .* cvr: .*\(1, 2\)"),
    "another input": ("serving_default", {"x": CLICKS}, lambda x: {"cvr": x}, "are not serialized tf.Examples: x: float32"),
    "numbers as examples": ("serving_default", {"examples": CLICKS}, lambda x: {"cvr": x}, "not serialized tf.Examples: exam"),
    "another type": ("predict_raw", {"b": tf.TensorSpec([None], tf.bool)}, lambda x: {"cvr": tf.cast(x, tf.float32)}, "b: bool"),
    "a fixed width": ("predict_raw", {"x": tf.TensorSpec([None, 3])}, lambda x: {"cvr": x[:, 0]}, r"x: float32 \(None, 3\)"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "call", "reason"), OTHERS.values(), ids=OTHERS)
def test_savedmodels_of_other_programs_are_no_exports(tmp_path, name, inputs, call, reason):
    model = tf.Module()
    model.call = tf.function(lambda **values: call(*values.values()))
    tf.saved_model.save(model, str(tmp_path / "m"), {name: model.call.get_concrete_function(**inputs)})
    assert list(load(str(tmp_path / "m"))) == [name]
    with pytest.raises(MalTfError, match=f"/m: expected an export of mal-tf, found a signature {name} .*{reason}"):
        load(str(tmp_path / "m"), signature=name)


def test_models_that_are_held_to_the_end_are_destroyed_without_a_word(versions):
    """TensorFlow's destructors print errors when the interpreter has taken apart what they call."""
    script = (
        "import builtins, sys; from mal_tf.serving.exports import Exports; from features.keras2 import tf\n"
        "builtins.kept = Exports({'m': sys.argv[1]})\n"
        "print(builtins.kept.predict(tf.constant(['abc']), 'here'))"
    )
    done = subprocess.run([sys.executable, "-c", script, versions["one"]], capture_output=True, text=True, check=True)
    assert "3." in done.stdout
    assert "Exception" not in done.stderr and "Error" not in done.stderr, done.stderr
