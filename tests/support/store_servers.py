"""Emulated servers of GCS and S3, which `make test-stores` installs."""

import contextlib
import os
import socket
import subprocess
import time

#: Folder of a virtual environment with the servers, and of S3's client in `client`.
SERVERS = os.environ.get("MAL_TF_STORES", "")

COMMANDS = {
    "gs": ["gcp-storage-emulator", "start", "--host=127.0.0.1", "--in-memory", "--default-bucket=bucket", "--port={}"],
    "s3": ["moto_server", "-H", "127.0.0.1", "-p", "{}"],
}


@contextlib.contextmanager
def serving(kind):
    """Runs a server; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program, *flags = COMMANDS[kind]
    command = [f"{SERVERS}/bin/{program}", *(flag.format(port) for flag in flags)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
