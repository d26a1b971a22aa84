"""What is written to standard error while TensorFlow is imported, by processes of their own as it goes to the descriptor."""

import os
import subprocess
import sys

import pytest

from features.import_noise import without_import_noise

NOISE = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1.5 27544 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.\n"
)


def stderr_of(code):
    script = f"import os, sys\nfrom features.import_noise import without_import_noise\n{code}"
    return subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, check=False).stderr


def test_notes_of_no_use_are_dropped_and_all_else_is_passed_on(capfd):
    with without_import_noise():
        os.write(2, NOISE + b"E0000 00:00:1.5 27544 x.cc:1] a real error\n")
        print("of Python", file=sys.stderr)
        os.write(2, b"without an end of line")
    os.write(2, b"after\n")
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == [
        "E0000 00:00:1.5 27544 x.cc:1] a real error",
        "after",
        "of Python",
        "without an end of line",
    ]


def test_an_exception_passes_and_standard_error_is_itself_again():
    with pytest.raises(ImportError, match="no such wheel"), without_import_noise():
        raise ImportError("no such wheel")
    note = NOISE.splitlines()[1]
    code = f"try:\n  with without_import_noise(): 1 / 0\nexcept ZeroDivisionError: os.write(2, {note})"
    assert stderr_of(code) == note


def test_the_last_words_before_a_crash_arrive():
    code = "with without_import_noise():\n  os.write(2, b'needs AVX instructions\\n')\n  os.abort()"
    assert b"needs AVX instructions\n" in stderr_of(code)


def test_a_process_without_standard_error_goes_on():
    assert stderr_of("os.close(2)\nwith without_import_noise(): pass\nos._exit(0)") == b""


def test_nothing_of_native_code_is_left_of_importing_tensorflow_and_its_data_validation():
    lines = stderr_of("from features.keras2 import tf\nfrom pipelines.validate.tfdv import tfdv").splitlines()
    assert [line for line in lines if line.startswith((b"I0000", b"W0000", b"WARNING: All", b"Unable to"))] == []
