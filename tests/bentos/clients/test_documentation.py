"""The examples of docs/reference/http.md work as they stand there, but for the port; those of docs/how-to/clients.md: test_clients.py."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.bundle import manifest
from tests.bentos.conftest import Case, Server, start_server

ROOT = Path(__file__).parents[3]


@pytest.fixture
def examples(server: Server, case: Case) -> dict[str, str]:
    """By language, the last code block of the page, spoken to the running server."""
    name = json.loads((case.bundle / manifest.FILE_NAME).read_bytes())["name"]
    if name != "flights":
        pytest.skip(f"the examples are about flights, the bundle is about {name}")
    text = (ROOT / "docs" / "reference" / "http.md").read_text()
    blocks: dict[str, str] = dict(re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL))
    return {language: block.replace("localhost:3000", server.http) for language, block in blocks.items()}


def run(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_documented_command_starts_the_server(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "build" / "bundle")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "serving").symlink_to(sys.prefix)
    command, *_ = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "reference" / "http.md").read_text(), re.DOTALL)
    assert start_server(bundle, tmp_path, ["bash", "-c", f"exec {command}"]).stop() == 0


def test_curl_example_gives_a_prediction(examples: dict[str, str], case: Case) -> None:
    answer = json.loads(run(["bash", "-c", examples["sh"].replace("curl", "curl -sS", 1)]))
    assert answer["model"] == {"name": "flights", "version": case.version}
    (prediction,) = answer["predictions"]
    assert {"field": "temp", "problem": "missing"} in prediction["fallbacks"]
    documented = json.loads(examples["json"])
    assert documented.keys() == answer.keys()
    assert documented["predictions"][0].keys() == prediction.keys()
