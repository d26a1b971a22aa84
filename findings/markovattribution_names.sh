#!/bin/sh
# markovattribution 0.5: a channel whose name is part of another's takes over its transitions.
#
# Transitions are counted by searching each path's text for "x > y" as a regular expression. "mail > email" is also found in
# "gmail > email", and "1 > null" in "11 > null"; a dot in a name stands for any character. Renaming a channel therefore moves
# credit: the same six kinds of journey give the second channel 2.86 of 6 conversions beside `search`, and 3.04 beside `mail`. A
# transition that occurs twice in a path counts once.
#
# Needs Python 3.11 (PYTHON=PATH for another place).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    markovattribution==0.5 pandas==2.3.3 numpy==2.4.6

cat > "$folder/check.py" <<'PYTHON'
import warnings

import numpy as np
import pandas as pd
from markovattribution.Markov import MarkovAttribution

warnings.simplefilter("ignore")


def credit(first, second):
    rows = [(first, np.nan, "conv")] * 3 + [(second, np.nan, "conv")] + [(second, np.nan, "null")] * 6
    rows += [(first, second, "conv")] * 2
    frame = pd.DataFrame(rows, columns=["T_1", "T_2", "conv_flag"]).astype(object)
    values = MarkovAttribution().fit(frame)["Markov Values"]
    return [round(float(values[name]), 3) for name in (first, second)]


apart, inside = credit("search", "email"), credit("mail", "email")
assert apart == [3.144, 2.856], apart
assert inside == [2.964, 3.036], inside
print("markovattribution 0.5, credit of search and email:", apart, "of mail and email, the same journeys:", inside)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
