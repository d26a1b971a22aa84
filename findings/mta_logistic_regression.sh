#!/bin/sh
# mta 0.0.9: logistic_regression gives the most credit to the channel that never converts.
#
# The attribution of a channel is the mean of the absolute values of its coefficients over the sampled regressions. A channel
# that speaks most clearly against a conversion, such as one of a hundred journeys of which none converted, has the largest
# coefficient below 0 and so gets the largest share, 80% here, while the channels with all 120 conversions share the rest. Every
# other model of the package gives it 0.
#
# Needs Python 3.11 (PYTHON=PATH for another place).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    mta==0.0.9 scikit-learn==1.9.1 pandas==2.3.3 numpy==2.4.6

cat > "$folder/check.py" <<'PYTHON'
import contextlib
import io
import warnings

import pandas as pd
from mta.mta import MTA

warnings.simplefilter("ignore")
data = pd.DataFrame(
    {"path": ["a", "b", "a > b", "c"], "total_conversions": [50, 40, 30, 0], "total_null": [50, 60, 40, 100]}
)
with contextlib.redirect_stdout(io.StringIO()):
    model = MTA(data).logistic_regression(n_iterations=50).markov().shao().linear()
share = {name: float(values.get("c", 0.0)) for name, values in model.attribution.items()}
assert share["linreg"] > 0.7, share
assert share["markov"] == share["shao"] == share["linear"] == 0, share
print("mta 0.0.9, share of the channel without a conversion:", share)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
