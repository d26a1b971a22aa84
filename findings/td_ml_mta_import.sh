#!/bin/sh
# td-ml-mta 0.0.16: importing it installs another version of marketing-attribution-models.
#
# The package compares the installed marketing-attribution-models with the release that it was written for when it is imported,
# and runs `pip install marketing_attribution_models==2.1.0` in the running interpreter's environment if they differ. An
# environment whose lock has 2.1.1 is another one after `import td_ml_mta`, for all programs that use it; processes that had
# loaded mam before keep the old code. The README mentions it for bare containers.
#
# Needs Python 3.11 (PYTHON=PATH for another place).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    td-ml-mta==0.0.16 marketing-attribution-models==2.1.0

cat > "$folder/check.py" <<'PYTHON'
import importlib.metadata

before = importlib.metadata.version("marketing-attribution-models")
import td_ml_mta  # noqa: E402

importlib.invalidate_caches()
after = importlib.metadata.version("marketing-attribution-models")
assert (before, after) == ("2.1.1", "2.1.0"), (before, after)
print("td-ml-mta", td_ml_mta.__version__, "marketing-attribution-models before the import:", before, "after:", after)
PYTHON
# Newer than its metadata allow, as an environment has it in which both packages were installed one after the other.
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" --no-deps marketing-attribution-models==2.1.1
"$folder/venv/bin/python" "$folder/check.py"
