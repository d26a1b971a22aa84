"""What `import mal_tf` offers, when it is loaded, and that type checkers see the same."""

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

import mal_tf

#: Run in a fresh process: labels need neither TensorFlow nor Beam.
LABELS = """
import sys, time
began = time.perf_counter()
import mal_tf
assert time.perf_counter() - began < 0.3, time.perf_counter() - began
assert not {"numpy", "pandas", "pyarrow", "pydantic"} & set(sys.modules)
import pandas as pd
events = pd.DataFrame({"user_id": ["u"], "timestamp": [pd.Timestamp("2024-01-01")]})
attribution = mal_tf.AttributionConfig(window_hours=1, mechanisms=[mal_tf.mechanism(n) for n in ("last", "shao_li")])
labelled = mal_tf.labels(events.assign(click_id=1), events.assign(conversion_id=1), attribution)
assert labelled["label_last"].tolist() == [1.0]
mal_tf.evaluate(labelled, {"a": [0.5]})
mal_tf.ModelConfig(primary="last"), mal_tf.TrainingConfig(), mal_tf.metrics
assert not {"tensorflow", "tf_keras", "apache_beam"} & set(sys.modules)
"""


def test_import_is_light_and_labels_need_no_tensorflow():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LABELS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_name_is_offered():
    assert sorted(mal_tf._HOMES) == sorted(mal_tf.__all__)
    assert set(mal_tf.__all__) <= set(dir(mal_tf))
    for name, home in mal_tf._HOMES.items():
        module, _, attribute = home.partition(":")
        value = importlib.import_module(module)
        assert getattr(mal_tf, name) is (getattr(value, attribute) if attribute else value)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(pathlib.Path(mal_tf.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {(node.module, alias.name) for node in block.body for alias in node.names}
    homes = {tuple(home.replace(":", ".").rsplit(".", 1)) for home in mal_tf._HOMES.values()}
    assert imported == homes


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'lables'; it offers: .*labels"):
        mal_tf.lables  # noqa: B018
