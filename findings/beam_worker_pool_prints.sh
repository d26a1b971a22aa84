#!/bin/sh
# Apache Beam 2.72.0: a job on a Python worker pool stands still once a step has printed 64 KiB.
#
# The pool (apache_beam.runners.worker.worker_pool_main, for --environment_type=EXTERNAL) starts each worker with a pipe for its
# standard output, which nobody reads. When the pipe is full, print() in a DoFn waits for ever, and so does the job, without an
# error. A worker that prints less, or to standard error, ends as it should. Code that workers run should log, not print.
#
# Needs Python 3.11 (PYTHON=PATH for another place), 1 GB in a temporary folder and two minutes.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" apache-beam==2.72.0 setuptools==80.9.0

cat > "$folder/job.py" <<'PYTHON'
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

count, stream, *flags = sys.argv[1:]
with beam.Pipeline(options=PipelineOptions(flags, save_main_session=False)) as pipeline:
    code = f"import sys; print('x' * {count}, file=sys.{stream}, flush=True)"
    _ = pipeline | beam.Create([code]) | beam.Map(exec)
PYTHON

cat > "$folder/check.py" <<'PYTHON'
import os, signal, socket, subprocess, sys, time

folder = sys.argv[1]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
environment = os.environ | {"PATH": f"{folder}/venv/bin:{os.environ['PATH']}"}
module = "apache_beam.runners.worker.worker_pool_main"
pool = subprocess.Popen(
    [sys.executable, "-m", module, f"--service_port={port}"], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
)
try:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)

    def ends(count, stream, patience):
        flags = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL"]
        command = [sys.executable, f"{folder}/job.py", str(count), stream, *flags, f"--environment_config=localhost:{port}"]
        job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return job.wait(patience) == 0
        except subprocess.TimeoutExpired:
            job.kill()
            return False

    began = time.time()
    assert ends(1_000, "stdout", 300) and ends(100_000, "stderr", 300)
    assert not ends(100_000, "stdout", 30 + 3 * (time.time() - began))
    print("apache-beam 2.72.0: 1,000 bytes printed or 100,000 to stderr: done; 100,000 printed: stands still")
finally:
    os.killpg(pool.pid, signal.SIGKILL)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/check.py" "$folder" 2> "$folder/stderr" || { tail -3 "$folder/stderr"; exit 1; }
