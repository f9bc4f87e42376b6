"""ONNX Runtime as this project imports it leaves nothing in the home directory and opens no socket; as it comes it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.bundle import manifest
from harness import PROJECT

# The kernel ends the process at its first socket of the internet, whichever library asks for one.
WITHOUT_INTERNET = """
import ctypes, os, platform, struct, sys, time
socket = {"x86_64": 41, "aarch64": 198}[platform.machine()]
load, equal, end = 0x20, 0x15, 0x06
steps = [(load, 0, 0, 0), (equal, 0, 4, socket), (load, 0, 0, 16), (equal, 1, 0, 2), (equal, 0, 1, 10), (end, 0, 0, 1 << 31)]
code = b"".join(struct.pack("HBBI", *step) for step in [*steps, (end, 0, 0, 0x7FFF0000)])
buffer = ctypes.create_string_buffer(code, len(code))
program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(program, len(program))):
    sys.exit("no filter may be set here")
"""
SESSION = """
import numpy
{imported}
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(given,) = session.get_inputs()
session.run(None, {{given.name: numpy.zeros((1, given.shape[1]), numpy.float32)}})
sys.stdin.read()
"""


@pytest.fixture
def model() -> Path:
    given = os.environ.get("BULKHEAD_TEST_BUNDLE")
    if not given:
        pytest.skip("BULKHEAD_TEST_BUNDLE is not set; `make test` sets it to a bundle that the pipeline built")
    return Path(given) / manifest.ARTIFACT / "model.onnx"


def started(code: str, model: Path, home: Path) -> subprocess.Popen[str]:
    """Code that has a home directory of its own, and does not know that it is tested: in CI the telemetry sleeps."""
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", WITHOUT_INTERNET + code, str(model)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files(home: Path) -> set[str]:
    return {path.name for path in home.rglob("*") if path.is_file()}


def test_nothing_is_left_at_home_and_nothing_is_sent_when_the_runtime_is_used(model: Path, tmp_path: Path) -> None:
    """Beside the runtime as it comes, which waits for some seconds before it asks for a host."""
    ours = started(SESSION.format(imported="from contract.model.runtime import onnxruntime"), model, tmp_path / "ours")
    plain = started(SESSION.format(imported="import onnxruntime"), model, tmp_path / "plain")
    with ours, plain:
        assert plain.stderr is not None
        code, said = plain.wait(timeout=120), plain.stderr.read()
        _, ours_said = ours.communicate(timeout=60)  # which ends it: it has lived as long
    if "no filter may be set here" in said:
        pytest.skip(said)
    assert (code, "deviceid" in files(tmp_path / "plain")) == (-signal.SIGSYS, True), said
    assert (ours.returncode, files(tmp_path / "ours")) == (0, set()), ours_said
