#!/bin/sh
# torchmetrics 1.9.0: RetrievalAUROC counts users whose clicks all converted as 0, also with empty_target_action="skip".
#
# The mean AUC of the users (GAUC without weights) needs users with both classes. By default users without a positive count 0, which
# empty_target_action says. "skip" leaves those out, but a user with positives alone, for whom there is no AUC either, still counts 0:
# two users who are ranked perfectly and two who always converted have a mean of 0.5. On KuaiRand's evaluation days, on which 189 of
# 396 users with a conversion have no other click, it is .325, and .622 over the users with both classes.
#
# Needs Python 3.11 (PYTHON=PATH for another place) and 6 GB in a temporary folder.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" torchmetrics==1.9.0 torch==2.15.0 numpy==2.4.6

cat > "$folder/check.py" <<'PYTHON'
import torch
from torchmetrics.classification import BinaryAUROC
from torchmetrics.retrieval import RetrievalAUROC

USER = torch.tensor([0, 0, 1, 1, 2, 2, 3, 4])
LABEL = torch.tensor([1, 0, 1, 0, 1, 1, 1, 0])
PREDICTION = torch.tensor([0.9, 0.1, 0.8, 0.2, 0.7, 0.6, 0.5, 0.3])


def mean(users, **parameters):
    rows = torch.isin(USER, torch.tensor(users))
    return RetrievalAUROC(**parameters)(PREDICTION[rows], LABEL[rows], indexes=USER[rows]).item()


both = [BinaryAUROC()(PREDICTION[USER == user], LABEL[USER == user]).item() for user in (0, 1)]
found = {
    "both classes": mean([0, 1]),
    "and users 2, 3 with positives alone": mean([0, 1, 2, 3]),
    "and user 4 without positives": mean([0, 1, 2, 3, 4]),
    "skip": mean([0, 1, 2, 3, 4], empty_target_action="skip"),
}
assert both == [1.0, 1.0], both
assert [round(value, 4) for value in found.values()] == [1.0, 0.5, 0.4, 0.5], found
print("torchmetrics 1.9.0:", found)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/check.py"
