import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import MalTfError
from pipelines.config.evaluation import GrowthConfig
from pipelines.studies.comparison.clicks import sliced, truth_fingerprint, with_truth
from pipelines.studies.comparison.config import TruthConfig

FRAME = pd.DataFrame(
    {"path_length": [0, 0, 1, 2, 3, 4, 9], "information_gain": [0, 1, 2, 3, 4, 9, -1], "shop": list("abababa")}
)
LABEL = np.array([0, 0, 1, 0.5, 1, 0.2, 1])


def parts(by):
    return {part.name: np.flatnonzero(part.chosen).tolist() for part in sliced(FRAME, by, GrowthConfig(), LABEL)}


def test_a_path_length_is_its_positives_and_all_negatives():
    expected = {"1 click": [0, 1, 2], "2 clicks": [0, 1, 3], "3 clicks": [0, 1, 4], "4 or more": [0, 1, 5, 6]}
    assert parts("path_length") == expected


def test_users_by_growth_and_clicks_by_feature():
    assert parts("information_gain") == {"none": [0, 6], "1": [1], "2 to 3": [2, 3], "4 or more": [4, 5]}
    assert parts("shop") == {"a": [0, 2, 4, 6], "b": [1, 3, 5]}


def test_truth_is_found_by_click_id_and_has_to_know_all(tmp_path):
    known = pa.table({"click_id": [3, 1, 2], "caused": [2, 0, 1], "p_caused": [0.3, 0.1, 0.2]})
    pq.write_table(known, tmp_path / "truth-clicks-0.parquet")
    truth = TruthConfig(files=str(tmp_path / "truth-clicks-*.parquet"), oracles=("p_caused",))
    found = with_truth(pd.DataFrame({"click_id": [1, 3]}), truth)
    assert found.to_dict("list") == {"click_id": [1, 3], "caused": [0, 2], "p_caused": [0.1, 0.3]}
    with pytest.raises(MalTfError, match="lack 1 of the 2 evaluation clicks"):
        with_truth(pd.DataFrame({"click_id": [1, 4]}), truth)
    with pytest.raises(MalTfError, match="expected column 'cased', found: click_id, caused, p_caused"):
        with_truth(pd.DataFrame({"click_id": [1]}), truth.model_copy(update={"caused": "cased"}))
    with pytest.raises(MalTfError, match="truth.files: .*: expected the output of `mal-tf simulate`"):
        truth_fingerprint(truth.model_copy(update={"files": str(tmp_path / "none-*")}))
