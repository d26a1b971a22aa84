"""Labels of tables in memory: those of the label job, in the order of the clicks, or an error that says which rows are bad."""

import datetime
import doctest

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mal_tf
from features.errors import BadInput, MalTfError
from tests.support.labels import labels_of

NAMES = {"id": "click_id", "user": "user_id", "shop": "match_key", "ts": "timestamp", "place": "touchpoint"}
ATTRIBUTION = mal_tf.AttributionConfig(
    window_hours=12,
    mechanisms=[mal_tf.mechanism("last"), mal_tf.mechanism("linear"), mal_tf.mechanism("shao_li", "mta")],
)


def frames():
    hours = pd.Timestamp("2024-01-01") + pd.to_timedelta([3, 1, 2, 4], unit="h")
    clicks = pd.DataFrame({"click_id": [1, 2, 3, 4], "user_id": [7, 7, 8, 8], "timestamp": hours}, index=list("abcd"))
    conversions = pd.DataFrame({"conversion_id": ["x"], "user_id": [7], "timestamp": hours[3:]})
    return clicks, conversions


def test_same_labels_as_the_job(project):
    of_job = labels_of(project, kinds=("label", "credit"))
    config = project.config
    clicks = project.clicks.rename_columns([NAMES.get(name, name) for name in project.clicks.column_names])
    clicks = clicks.append_column("place", clicks["touchpoint"])
    names = {**NAMES, "id": "conversion_id"}
    conversions = project.conversions.rename_columns([names[name] for name in project.conversions.column_names])
    labelled = mal_tf.labels(
        clicks,
        conversions,
        mal_tf.AttributionConfig.model_validate(config["attribution"]),
        mal_tf.FeatureSpec(features=config["features"]),
        time_unit="s",
        observed_until=datetime.datetime.fromisoformat(config["labels"]["observed_until"]),
        fit_until=datetime.datetime.fromisoformat(config["labels"]["eval_from"]),
    )
    assert labelled["click_id"].to_pylist() == clicks["click_id"].to_pylist()
    in_memory = {row["click_id"]: row for row in labelled.to_pylist() if row["mature"]}
    assert set(in_memory) == set(of_job)
    for click, row in of_job.items():
        assert {key: in_memory[click][key] for key in row} == row


def test_a_frame_keeps_its_index_and_order():
    clicks, conversions = frames()
    labelled = mal_tf.labels(clicks, conversions, ATTRIBUTION)
    assert labelled.index.tolist() == list("abcd")
    assert labelled["label_last"].tolist() == [1, 0, 0, 0]
    assert labelled["label_linear"].tolist() == [0.5, 0.5, 0, 0]
    assert labelled["mature"].tolist() == [0, 0, 0, 0]


def test_what_is_observed():
    clicks, conversions = frames()
    until = datetime.datetime(2024, 1, 1, 3, 30)
    labelled = mal_tf.labels(clicks, conversions, ATTRIBUTION, observed_until=until)
    assert labelled.index.tolist() == list("abc")
    assert labelled["label_last"].sum() == 0
    as_text = mal_tf.labels(clicks, conversions, ATTRIBUTION, observed_until="2024-01-01T04:30+01:00")
    pd.testing.assert_frame_equal(as_text, labelled)
    for other in ("10.3.2024", "20240101T0330", "1704079800"):  # Pythons from 3.11 take the second for ISO text.
        with pytest.raises(MalTfError, match=f"observed_until: expected a time or ISO text .*, found '{other}'"):
            mal_tf.labels(clicks, conversions, ATTRIBUTION, observed_until=other)
    with pytest.raises(MalTfError, match="fit_until: expected a time or ISO text .*, found NaT"):
        mal_tf.labels(clicks, conversions, ATTRIBUTION, fit_until=pd.NaT)
    later = mal_tf.labels(clicks, conversions, ATTRIBUTION, observed_until=until.replace(day=2))
    assert later["mature"].tolist() == [1, 1, 1, 1]


def test_a_click_delivered_twice_counts_once():
    clicks, conversions = frames()
    twice = pd.concat([clicks, clicks.iloc[:1]])
    pd.testing.assert_frame_equal(
        mal_tf.labels(twice, conversions, ATTRIBUTION), mal_tf.labels(clicks, conversions, ATTRIBUTION)
    )


def test_large_integers_with_missing_values_are_exact():
    clicks, conversions = frames()
    item = pa.array([2**60 + 1, None, 3, 4])
    table = pa.Table.from_pandas(clicks, preserve_index=False).append_column("item", item)
    features = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "item", "dtype": "int64"}])
    frame = table.to_pandas(integer_object_nulls=True)
    assert mal_tf.labels(frame, conversions, ATTRIBUTION, features)["item"].tolist() == item.to_pylist()


def test_own_mechanism_by_its_registered_name():
    @mal_tf.register("every")
    class Every(mal_tf.Mechanism):
        def credit(self, journeys):
            return 1 / np.maximum(journeys.lengths, 1)[journeys.owner]

    own = mal_tf.AttributionConfig(window_hours=12, mechanisms=[mal_tf.mechanism("every")])
    assert mal_tf.labels(*frames(), own)["label_every"].tolist() == [0.5, 0.5, 0, 0]
    with pytest.raises(MalTfError, match="'last' is a built-in"):
        mal_tf.register("last")
    with pytest.raises(MalTfError, match="not a subclass"):
        mal_tf.register("other")(int)


def test_many_users_and_match_keys_in_microseconds():
    count = 4000
    clicks = pd.DataFrame({"click_id": range(count), "user_id": range(count), "match_key": range(count)})
    clicks["timestamp"] = pd.date_range("2024-01-01", "2024-12-31", periods=count)
    conversions = clicks[:1].rename(columns={"click_id": "conversion_id"})
    own = mal_tf.AttributionConfig(window_hours=12, mechanisms=[mal_tf.mechanism("last")])
    assert mal_tf.labels(clicks, conversions, own)["label_last"].tolist() == [1.0] + [0.0] * (count - 1)


def test_the_example_of_register_with_a_conversion_without_clicks():
    example = doctest.DocTestParser().get_doctest(mal_tf.register.__doc__, {}, "register", None, 0)
    doctest.DocTestRunner().run(example, clear_globs=False)
    own = mal_tf.AttributionConfig(window_hours=12, mechanisms=[mal_tf.mechanism("second")])
    clicks, conversions = frames()
    stranger = conversions[:1].assign(user_id=0, conversion_id="y")
    both = pd.concat([stranger, conversions])
    labelled = [mal_tf.labels(clicks, rows, own)["label_second"].tolist() for rows in (conversions, both)]
    assert labelled[0] == labelled[1] and sum(labelled[0]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, s: (c.assign(user_id=["7", None, "8", "8"]), s), r"clicks: 1 bad rows \(row 1: user_id is null\)"),
        (
            lambda c, s: (c.drop(columns="timestamp"), s),
            "'timestamp' .* is missing; .* Add the column, or correct its name",
        ),
        (lambda c, s: (c.assign(match_key="k"), s), "expected it in both tables or in none, found it in clicks alone"),
        (lambda c, s: (c.assign(timestamp=[1, 2, 3, 4]), s), "expected timestamps, or time_unit"),
        (
            lambda c, s: (c, pd.concat([s, s.assign(timestamp=s["timestamp"] + pd.Timedelta("1s"))])),
            "duplicate with other",
        ),
    ],
)
def test_bad_tables(change, message):
    with pytest.raises(BadInput, match=message):
        mal_tf.labels(*change(*frames()), ATTRIBUTION)


def test_what_needs_a_label_job_is_refused():
    ready = mal_tf.AttributionConfig(mechanisms=[{"name": "last", "type": "ready"}])
    with pytest.raises(MalTfError, match="found ready-made labels: last"):
        mal_tf.labels(*frames(), ready)
    with pytest.raises(MalTfError, match="fit_from"):
        mal_tf.labels(*frames(), ATTRIBUTION.model_copy(update={"fit_from": "runs/a"}))
    with pytest.raises(MalTfError, match="'age' is not a categorical or numeric feature; available: none"):
        mal_tf.labels(*frames(), ATTRIBUTION.model_copy(update={"confounders": ("age",)}))
    with pytest.raises(BadInput, match="time_unit: expected one of s, ms, us, ns, found 'min'"):
        mal_tf.labels(*frames(), ATTRIBUTION, time_unit="min")


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (
            None,
            r"clicks: expected a column 'touch_type', as attribution.context_window_hours has view; found columns: user_id",
        ),
        (["click", "vew"], r"clicks, row 1: column 'touch_type': expected one of click, view; found 'vew'"),
        (["click", None], r"clicks, row 1: column 'touch_type': expected one of click, view; found None"),
    ],
)
def test_tables_in_memory_whose_kinds_are_not_given(kinds, message):
    clicks = pa.table({"user_id": ["u", "u"], "click_id": [1, 2], "timestamp": [1, 2]})
    if kinds:
        clicks = clicks.append_column("touch_type", pa.array(kinds))
    sales = pa.table({"user_id": ["u"], "conversion_id": [1], "timestamp": [10]})
    config = mal_tf.AttributionConfig(
        window_hours=24, context_window_hours={"view": 12}, mechanisms=[mal_tf.mechanism("last")]
    )
    with pytest.raises(BadInput, match=message):
        mal_tf.labels(clicks, sales, config, time_unit="s")


def test_clicks_are_no_kind_of_context():
    with pytest.raises(ValueError, match="expected names of context touches, such as view; 'click' has `window_hours`"):
        mal_tf.AttributionConfig(
            window_hours=24, context_window_hours={"click": 12}, mechanisms=[mal_tf.mechanism("last")]
        )


def test_a_kind_of_context_may_have_any_name():
    kind = "view (50%"
    clicks = {"user_id": ["u", "u"], "click_id": [1, 2], "timestamp": [1, 2], "touchpoint": ["", "feed"]}
    sales = pa.table({"user_id": ["u"], "conversion_id": [1], "timestamp": [10]})
    config = mal_tf.AttributionConfig(
        window_hours=24, context_window_hours={kind: 12}, mechanisms=[mal_tf.mechanism("linear")]
    )
    labelled = mal_tf.labels(pa.table(clicks | {"touch_type": [kind, "click"]}), sales, config, time_unit="s")
    assert (labelled["click_id"].to_pylist(), labelled["label_linear"].to_pylist()) == ([2], [0.5])


def test_a_bad_view_in_memory_is_named_by_its_row_and_the_index_of_clicks_stays():
    frame = pd.DataFrame({"user_id": ["u", "u", "v"], "click_id": [1, 2, 3], "timestamp": [1, 2, 3]}, index=list("abc"))
    frame["touch_type"] = pd.Categorical(["view", "click", "click"])
    sales = pd.DataFrame({"user_id": ["u"], "conversion_id": [1], "timestamp": [10]})
    config = mal_tf.AttributionConfig(
        window_hours=24, context_window_hours={"view": 12}, mechanisms=[mal_tf.mechanism("linear")]
    )
    labelled = mal_tf.labels(frame, sales, config, time_unit="s")
    assert labelled["label_linear"].to_dict() == {"b": 0.5, "c": 0}
    frame.loc["a", "user_id"] = None
    with pytest.raises(BadInput, match="context: 1 bad rows .row 0: user_id is null"):
        mal_tf.labels(frame, sales, config, time_unit="s")
