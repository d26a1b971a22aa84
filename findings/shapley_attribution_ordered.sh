#!/bin/sh
# shapley-attribution 2.1.0: OrderedShapleyAttribution credits journeys that did not convert.
#
# Its fit takes y like the other models, and the class says that it computes the ordered Shapley value of Zhao et al., which is
# about conversions; SimplifiedShapleyAttribution and the baselines use the journeys with y = 1 only. OrderedShapleyAttribution
# stores y and goes through all journeys: a channel of failed journeys alone gets the largest share, and credit adds up to the
# number of journeys. Giving it only converting journeys works.
#
# Needs Python 3.11 (PYTHON=PATH for another place).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    shapley-attribution==2.1.0 matplotlib==3.11.2 scikit-learn==1.9.1 numpy==2.4.6

cat > "$folder/check.py" <<'PYTHON'
import shapley_attribution

journeys, converted = [["a", "b"], ["a"], ["c"], ["c"], ["c"]], [1, 1, 0, 0, 0]


def credit(name, x=journeys, y=converted):
    return getattr(shapley_attribution, name)(normalize=False).fit(x, y=y).get_attribution()


simplified, ordered = credit("SimplifiedShapleyAttribution"), credit("OrderedShapleyAttribution")
assert simplified == {"a": 1.5, "b": 0.5, "c": 0.0}, simplified
assert ordered == {"a": 1.5, "b": 0.5, "c": 3.0}, ordered
assert credit("OrderedShapleyAttribution", journeys[:2], converted[:2]) == {"a": 1.5, "b": 0.5}
print("shapley-attribution 2.1.0, simplified:", simplified, "ordered:", ordered, "conversions:", sum(converted))
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
