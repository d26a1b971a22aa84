#!/bin/sh
# ChannelAttribution 2.2.5: a Markov chain's removal effects are too low where its walks are longer than every path of the data.
#
# markov_model simulates walks of the chain, and with max_step=None, the default, it ends a walk without a conversion after as many
# steps as the longest path of the data has. In a chain with a cycle walks go on longer. Here the exact removal effect of b is 1/4;
# the default gives 0.199, whatever the seed and the number of walks, and max_step=10000 gives 0.250. The documentation calls
# max_step the maximum number of steps of a simulated path, and nothing is printed.
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

data = pd.DataFrame({"path": ["a", "a > b > a"], "conversions": [200, 100], "other": [0, 0]})
# Of 400 visits to a, 300 convert and 100 go on to b, from which all return: every walk converts in the end. Without b, a walk
# converts unless it would go from a to b.
EXACT = 100 / 400


def effect(**parameters):
    result = ChannelAttribution.markov_model(
        data, "path", "conversions", var_null="other", out_more=True, seed=1, nsim_start=1e6, verbose=False, flg_pro=False,
        **parameters,
    )
    return result["removal_effects"].set_index("channel_name")["removal_effect"]["b"]


default, long = effect(), effect(max_step=10_000)
assert abs(default - 0.2) < 0.005, default
assert abs(long - EXACT) < 0.005, long
print("ChannelAttribution 2.2.5, removal effect of b, exact:", EXACT, "default:", default, "max_step=10000:", long)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
