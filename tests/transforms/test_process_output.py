"""Nothing that is printed ends a command: neither what the encoding lacks, nor a reader that has left."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRINT = """
import sys
from transforms import process
with process.steady_output():
    for number in range(int(sys.argv[1])):
        print("ä … 猫 \\udcff", flush=number == 0)
    print("ö …", file=sys.stderr)
sys.exit(3)
"""


def start(lines: int, encoding: str = "", **options) -> subprocess.Popen[bytes]:
    environment = os.environ | ({"PYTHONIOENCODING": encoding} if encoding else {})
    return subprocess.Popen([sys.executable, "-c", PRINT, str(lines)], env=environment, **options)


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("ascii", rb"\xe4 \u2026 \u732b \udcff"),
        ("ascii:strict", rb"\xe4 \u2026 \u732b \udcff"),
        ("cp1252", b"\xe4 \x85 " + rb"\u732b \udcff"),
        ("utf-8", "ä … 猫 ".encode() + rb"\udcff"),
    ],
)
def test_what_the_encoding_lacks_is_escaped(encoding, line):
    process = start(2, encoding, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert (process.returncode, out) == (3, (line + b"\n") * 2)
    assert b"Traceback" not in err


def test_a_reader_that_leaves_is_no_error():
    process = start(100_000, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err.decode()) == (3, "ö …\n")


def test_both_streams_may_be_closed():
    reader, writer = os.pipe()
    os.close(reader)
    process = start(100_000, stdout=writer, stderr=writer)
    os.close(writer)
    assert process.wait() == 3


def test_no_standard_output_at_all():
    process = start(2, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    _, err = process.communicate()
    assert (process.returncode, b"Traceback" in err) == (3, False)
