#!/bin/sh
# pyarrow 10.0.1 on Python 3.10: every read_csv asks the garbage collector for referrers, a walk over all objects it tracks.
#
# For a reference cycle that Python 3.10 makes with signals, pyarrow searches the calling frames by gc.get_referrers whenever it
# reads a CSV, well-formed or not. The cost grows with the process, not with the file: a read of two lines took seven to eight times as
# long beside a million further objects. Objects that gc.freeze has set aside are not walked.
# Readers of one large block don't notice; readers of many small blocks do.
#
# Needs Python 3.10 (PYTHON310=PATH for another place) and 0.2 GB in a temporary folder.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON310:-python3.10}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==10.0.1 numpy==1.26.4

cat > "$folder/check.py" <<'PYTHON'
import gc
import sys
import time

import pyarrow as pa
from pyarrow import csv

asked, get_referrers = [], gc.get_referrers


def counted(*objects):
    asked.append(len(objects))
    return get_referrers(*objects)


def read():
    csv.read_csv(pa.BufferReader(b"user,shop\n1,2\n"))


def seconds():
    began = time.process_time()
    for _ in range(10):
        read()
    return time.process_time() - began


assert sys.version_info[:2] == (3, 10), sys.version
read()
gc.get_referrers = counted
read()
gc.get_referrers = get_referrers
assert len(asked) >= 1, asked

gc.collect()
alone = seconds()
beside = [[] for _ in range(1_000_000)]
crowded = seconds()
gc.freeze()
frozen = seconds()
print(f"pyarrow {pa.__version__}: {len(asked)} searches a read; x{crowded / alone:.0f} beside {len(beside):,} objects, "
      f"x{frozen / alone:.1f} with these frozen")
assert crowded > 3 * alone and frozen < crowded / 3
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
