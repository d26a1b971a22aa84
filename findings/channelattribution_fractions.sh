#!/bin/sh
# ChannelAttribution 2.2.5: fractions of conversions are cut off, path by path.
#
# heuristic_models and markov_model take the numbers of conversions of each path as whole numbers: 2.9 counts as 2 and 0.5 as 0, in a
# column of floats, without a word. Conversions that were weighted (by value, by a sampling rate, by another model's credit) lose up
# to one per path: of 6.8 conversions in two paths 5 are attributed, and of 1.0 in two halves none. The revenue of the same paths
# (var_value) is attributed in full, so that revenue per conversion is too high, or divided by 0.
#
# Needs Python 3.11 (PYTHON=PATH for another place) and a C++ compiler.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    channelattribution==2.2.5 matplotlib==3.11.2 pandas==2.3.3 numpy==2.4.6

cat > "$folder/check.py" <<'PYTHON'
import ChannelAttribution
import pandas as pd


def attributed(conversions, revenue=None):
    data = pd.DataFrame({"path": ["a > b", "b"], "conversions": conversions, "revenue": revenue or [1.0, 1.0]})
    assert data["conversions"].dtype == float
    table = ChannelAttribution.heuristic_models(data, "path", "conversions", var_value="revenue", flg_pro=False)
    return {name: float(table[name].sum()) for name in table if name != "channel_name"}


some, halves = attributed([2.9, 3.9]), attributed([0.5, 0.5], [10.5, 20.25])
rules = ("first_touch", "last_touch", "linear_touch")
assert [some[f"{rule}_conversions"] for rule in rules] == [5.0, 5.0, 5.0], some
assert [halves[f"{rule}_conversions"] for rule in rules] == [0.0, 0.0, 0.0], halves
assert [halves[f"{rule}_value"] for rule in rules] == [30.75, 30.75, 30.75], halves
print("ChannelAttribution 2.2.5, of 6.8 conversions:", some, "of 1.0 with a revenue of 30.75:", halves)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
