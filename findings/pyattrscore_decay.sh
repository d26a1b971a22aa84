#!/bin/sh
# pyattrscore 0.0.1: exponential decay depends on a touch's place between the journey's first and last touch, not on hours.
#
# ExponentialDecayAttribution weighs a touch decay_rate ** (age / the age of the journey's oldest touch). Of two touches the later
# one always has twice the credit of the earlier (decay_rate 0.5, the default), whether they are a minute or 20 days apart, and an
# older touch in front moves credit between all others: a touch a day before the conversion has half the weight of the last one in a
# journey of a day, and 97% of it in a journey of 25 days. The class is described as decay by time to the conversion, with a rate.
#
# Needs Python 3.11 (PYTHON=PATH for another place).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    pyattrscore==0.0.1 pandas==2.3.3 numpy==2.4.6

cat > "$folder/check.py" <<'PYTHON'
import logging

import pandas as pd
import pyattrscore

logging.disable(logging.CRITICAL)


def credit(*ages):
    """Credit of touches by their age, such as "20D" for 20 days; the last one converts."""
    rows = [
        {
            "user_id": "u",
            "touchpoint_id": age,
            "channel": age,
            "timestamp": pd.Timestamp("2024-05-31") - pd.Timedelta(age),
            "conversion": age == ages[-1],
            "conversion_value": 1.0,
        }
        for age in ages
    ]
    model = pyattrscore.ExponentialDecayAttribution(pyattrscore.AttributionConfig())
    found = model.calculate_attribution(pd.DataFrame(rows))
    return dict(zip(found["channel"], found["attribution_score"].round(4), strict=True))


minute, days = credit("1min", "0min"), credit("20D", "0min")
assert list(minute.values()) == list(days.values()) == [0.3333, 0.6667], (minute, days)
short, long = credit("1D", "0min"), credit("25D", "1D", "0min")
ratios = [round(found["1D"] / found["0min"], 2) for found in (short, long)]
assert ratios == [0.5, 0.97], ratios
print("pyattrscore 0.0.1, a minute apart:", minute, "20 days apart:", days, "a day ago beside now:", ratios)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
