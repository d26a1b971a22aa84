import numpy as np
import pytest

from features.errors import MalTfError
from pipelines.clicks.labelled import LabelledClicks
from pipelines.studies.replay.config import load
from pipelines.studies.replay.run import PAIRED, run


def test_models_bid_with_what_they_serve(finished):
    _, result = finished
    folder = result["config"]["run"].removesuffix("out")
    assert result["models"]["whole"] == [f"{folder}serving/whole/7"]
    assert result["models"]["another"] == [f"{folder}serving/half/7"]
    paired = result["designs"][PAIRED]
    bought = [paired[name]["bought"] for name in ("whole", "oracle", "another", "constant")]
    assert bought[0] == bought[1] not in bought[2:]  # it is float32, which decides nothing here
    assert paired["another"]["pace"] > paired["oracle"]["pace"]


def test_what_is_missing_is_said(replay, tmp_path):
    for override, message in (
        ("arms.2.models=[nowhere]", "nowhere: expected a SavedModel or a directory of versions"),
        ("warm_up_days=2", "warm_up_days: expected fewer than the 2 days of clicks, found 2"),
        ("arms.1.truth=p_caused", "expected column 'p_caused', found: click_id, expected_credit, other"),
    ):
        with pytest.raises(MalTfError, match=message):
            run(*load(replay, [override]), str(tmp_path))


def test_a_click_without_value_can_not_be_sold(replay, tmp_path, monkeypatch):
    read = LabelledClicks.frame

    def without_prices(*arguments):
        frame = read(*arguments)
        frame.loc[:2, "price"] = np.nan
        return frame

    monkeypatch.setattr(LabelledClicks, "frame", without_prices)
    with pytest.raises(MalTfError, match="value: . of .* clicks have no 'price', which bids and prices need"):
        run(*load(replay), str(tmp_path))
