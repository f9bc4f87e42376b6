"""A copy of the project in which the code blocks of a page are run, one after another, as they stand but for the ports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from docs.code_blocks import Block, blocks
from harness import PROJECT
from harness.ports import free_ports

LIMIT_S = 900


@dataclass
class Place:
    """A copy of the project with ports, state and environments for a fleet of its own.

    Attributes:
        printed: what the commands of each block printed, in order.
    """

    root: Path
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    printed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.root / ".venv").symlink_to(PROJECT / ".venv")
        with (self.root / ".git" / "info" / "exclude").open("a") as excluded:
            excluded.write("/.venv\n")
        for made_of in (*self.root.glob("requirements/*"), self.root / "contract" / "environment" / "pruning.py"):
            os.utime(made_of, (0, 0))  # the environments are those of this test: make must not make them anew

    def follow(self, page: str) -> None:
        """Run the blocks of a page, but those that it says are left out."""
        for block in blocks(page):
            if block.reason is None:
                self.run(block)

    def run(self, block: Block) -> None:
        """Run a block, or parse it where it is data; a whole params.yaml takes the place of the project's."""
        where = f"{block.page}, line {block.line}"
        if block.language in ("sh", "bash"):
            self._command(where, "bash", "-euo", "pipefail", "-c", self._spoken(block.text))
        elif block.language == "python":
            self._command(where, sys.executable, "-c", block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "ini":
            ConfigParser(interpolation=None).read_string(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict), where
            if block.text.startswith("name:"):
                (self.root / "params.yaml").write_text(block.text)
        else:
            assert block.language == "text", f"{where}: nothing runs {block.language}"

    def up(self) -> None:
        self._command("before a page", "bin/fleet", "up")

    def down(self) -> None:
        self._command("the end", "make", "down")

    def _spoken(self, text: str) -> str:
        """The text with the ports of this place in place of those that the pages name."""
        http, grpc, _ = map(str, self.ports)
        return re.sub(r"\b(?:8081|3001)\b", grpc, re.sub(r"\b(?:8080|3000)\b", http, text))

    def _command(self, where: str, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, (
            f"{where}: exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
        self.printed.append(done.stdout)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        people = {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return kept | people | {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "BULKHEAD_HTTP_PORT": str(self.ports[0]),
            "BULKHEAD_GRPC_PORT": str(self.ports[1]),
            "BULKHEAD_STATUS_PORT": "0",
            "BULKHEAD_AIRFLOW_PORT": str(self.ports[2]),
            "BULKHEAD_REPLICA_PORT": "18500",  # it takes the first from there that are free
        }  # fmt: skip
