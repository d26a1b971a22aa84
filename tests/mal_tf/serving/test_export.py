import numpy as np
import pyarrow as pa
import pytest

from features.errors import MalTfError
from features.example import encode, to_lists
from features.keras2 import tf
from features.lookup import lookup_model
from mal_tf.serving import check
from mal_tf.serving.export import ServedModel, export
from tests.mal_tf.models.test_models import SPEC, VOCABULARIES, build

BATCH = pa.record_batch(
    [pa.array(["a", None, "never seen"]), pa.array([["b", "a"], [], None], pa.list_(pa.string()))], ["item", "seen"]
)


@pytest.fixture(scope="module")
def served():
    return ServedModel(SPEC, lookup_model(SPEC, VOCABULARIES), build())


def test_versions_count_up_and_answer_the_same_in_a_fresh_process(served, tmp_path):
    examples = encode(to_lists(BATCH))
    raw = {"item": np.array([b"a", b"", b"never seen"], object)}
    raw["seen"] = np.array([[b"b", b"a"], [b"", b""], [b"", b""]], object)
    expected = served.serving_default(tf.constant(examples))["cvr"].numpy()

    def verify(directory):
        return check.in_fresh_process(directory, examples, raw, expected)

    version, difference = export(served, str(tmp_path), examples[:2], verify)
    assert (version, difference <= 1e-6) == (str(tmp_path / "1"), True)
    (record,) = tf.data.TFRecordDataset(f"{version}/assets.extra/tf_serving_warmup_requests")
    assert examples[0] in record.numpy()
    with pytest.raises(MalTfError, match="differs from the in-memory model"):
        check.in_fresh_process(version, examples, raw, expected + 0.1)
    assert export(served, str(tmp_path), [], lambda _: 0.0)[0] == str(tmp_path / "2")


def test_a_version_that_fails_its_check_never_appears(served, tmp_path):
    def verify(_):
        raise MalTfError("no")

    with pytest.raises(MalTfError, match="no"):
        export(served, str(tmp_path), [], verify)
    assert list(tmp_path.iterdir()) == []
