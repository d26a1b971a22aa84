"""A model from rows to CVRs gives the same in every runtime."""

import numpy as np
import pytest

from benchmarks import runtimes
from features.errors import MalTfError
from features.keras2 import tf
from features.spec import FeatureSpec
from mal_tf.serving.rows import save_rows
from tests.support.models import SPEC, build

GENERATOR = np.random.default_rng(0)
ROWS = {"item": GENERATOR.integers(4, size=50).astype(np.int32)}
ROWS["seen"] = GENERATOR.integers(4, size=(50, 3)).astype(np.int32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    network, folder = build(), tmp_path_factory.mktemp("rows")
    save_rows(network, SPEC, str(folder / "rows"))
    return folder, tf.sigmoid(network.model({k: tf.constant(v) for k, v in ROWS.items()})["last"]).numpy()


@pytest.mark.parametrize("runtime", runtimes.NEEDS)
def test_gives_the_same(runtime, saved):
    if missing := runtimes.missing(runtime):
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder, expected = saved
    converted = runtimes.convert(runtime, str(folder / "rows"), folder)
    prepare = runtimes.prepare(runtime, converted, threads=1)["serving_default"]
    for batch in (50, 1, 7):
        found = prepare({name: values[:batch] for name, values in ROWS.items()})()
        np.testing.assert_allclose(found, expected[:batch], atol=1e-6)


def test_similarities_are_refused(tmp_path):
    spec = FeatureSpec(features=[*SPEC.features, {"type": "similarity", "name": "near"}])
    with pytest.raises(MalTfError, match="feature 'near': a model of similarities can't be converted"):
        save_rows(build(), spec, str(tmp_path / "rows"))
    assert not (tmp_path / "rows").exists()
