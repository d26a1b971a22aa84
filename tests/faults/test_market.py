import pyarrow as pa

from tests.faults import market

DAY = 86_400


def test_random_credit_moves_each_conversion_to_a_click_of_its_day_and_keeps_the_rest():
    clicks = pa.table(
        {
            "user_id": [1, 2, 3],
            "product": ["p", "q", "r"],
            "advertiser": ["a", "b", "c"],
            "timestamp": [DAY, DAY + 5_000, 2 * DAY - 30],
        }
    )
    number = 50
    conversions = pa.table(
        {
            "conversion_id": range(number),
            "user_id": [9] * number,
            "product": ["z"] * number,
            "advertiser": ["z"] * number,
            "timestamp": [DAY] * number,
            "value": [float(one) for one in range(number)],
        }
    )
    spoilt = market.random_credit(clicks)(conversions).to_pydict()
    expected = {(1, "p", "a", DAY + 60), (2, "q", "b", DAY + 5_060), (3, "r", "c", 2 * DAY - 1)}
    names = ("user_id", "product", "advertiser", "timestamp")
    assert set(zip(*(spoilt[name] for name in names), strict=True)) == expected
    assert sorted(zip(spoilt["conversion_id"], spoilt["value"], strict=True)) == [(n, float(n)) for n in range(number)]
    assert spoilt["timestamp"] == sorted(spoilt["timestamp"])


def test_spoilt_clicks():
    clicks = pa.table({"channel": ["tv"], "price": pa.array([2.5], pa.float32())})
    assert market.without_channel(clicks).to_pydict() == {"price": [2.5]}
    assert market.price_as_text(clicks)["price"].to_pylist() == ["2.5 EUR"]
    assert market.price_in_cents(clicks)["price"].to_pylist() == [250.0]
    assert market.price_in_cents(clicks).schema == clicks.schema
