#!/bin/sh
# pychattr 0.2.1: MarkovModel separates channels by the first character of `separator`, HeuristicModel by all of it.
#
# With separator=" > ", as paths are commonly written, MarkovModel splits at every space: ">" becomes a channel with credit of
# its own, and "paid search" two channels. The default ">>>" hides it, as its characters are equal. HeuristicModel, on the same
# frame with the same separator, has the channels that were meant, so that the two tables of one analysis do not match.
#
# Needs Python 3.11 (PYTHON=PATH for another place).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    pychattr==0.2.1 pandas==2.3.3 numpy==2.4.6

cat > "$folder/check.py" <<'PYTHON'
import warnings

import pandas as pd
from pychattr.channel_attribution import HeuristicModel, MarkovModel

warnings.simplefilter("ignore")
data = pd.DataFrame({"path": ["paid search > email", "email"], "conversions": [5, 3], "other": [2, 4]})
columns = {"path_feature": "path", "conversion_feature": "conversions", "separator": " > "}
markov = MarkovModel(**columns, null_feature="other", random_state=1).fit(data.copy()).attribution_model_
rules = HeuristicModel(**columns, ensemble_results=False).fit(data.copy()).attribution_model_
found = {"markov": sorted(markov["channel_name"]), "rules": sorted(rules["channel"])}
assert found == {"markov": [">", "email", "paid", "search"], "rules": ["email", "paid search"]}, found
credit = markov.set_index("channel_name")["total_conversions"]
assert credit[">"] > 1, credit
print("pychattr 0.2.1, channels:", found, "credit of '>':", round(credit[">"], 2), "of 8")
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
