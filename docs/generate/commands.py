"""`reference/commands.md`: every command with its arguments, from the programs' own parsers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

from docs.generate.markdown import NOTICE, table
from harness import PROJECT, interpreter

_INTRODUCTION = """# Commands

`make help` lists what `make` does. The commands below end with an [exit code](exit-codes.md) that says whether a retry can help.
`python -m …` runs in the environment named below it: `.venv/<environment>/bin/python -m …`, or `source .venv/<environment>/bin/activate`
first.

`bin/smoke`, in the serving environment, asks the running fleet for one golden answer over HTTP and one over gRPC. `bin/airflow-local`
(`up`, `down`, `status`, `cli ARGUMENT…`, `worker FILE`) runs Airflow on this machine ([Airflow](../how-to/airflow.md))."""
_SCRIPTS = ("bin/fleet", "bin/store", "bin/bundle")
_MODULES = (
    ("bin/fleet --target kubernetes", "fleet", "fleet.kubernetes"),
    ("python -m fleet.envoy.front", "fleet", "fleet.envoy.front"),
    ("python -m pipelines", "pipeline", "pipelines"),
    ("python -m pipelines.runs", "pipeline", "pipelines.runs"),
    ("python -m benchmarks", "pipeline", "benchmarks"),
    ("python -m drills", "pipeline", "drills"),
)
_AFTERWORDS = {
    "bin/fleet": """With `--json` each prints the fleet's status as one JSON object: `ready`, `problems`, `running`, `http`, `grpc`, `size`,
`declared` (`fleet.yaml` as it is in force),
`live`, `canary`, `replicas` (each with `name`, `digest`, `http_socket`, `grpc_socket`, `admin_port`, `state`, `pid`, `ready`), or
`{"error": {"code", "message"}}`.""",
    "bin/fleet --target kubernetes": """With `--json` each prints one JSON object: `ready`, `problems`, `cluster`,
`namespace`, `size`, `most`, `live`, `canary`, `replicas` (each with `name`, `track`, `digest`, `state`,
`ready`), or `{"error": {"code", "message"}}`.""",
    "bin/store": 'With `--json` each prints one JSON object, or `{"error": {"code", "message"}}`.',
}


def page() -> str:
    """Return the page."""
    parts = [NOTICE, _INTRODUCTION]
    for program, environment, module in (*map(_script, _SCRIPTS), *_MODULES):
        parts += [f"## {program}", *_program(program, environment, module)]
        parts += [_AFTERWORDS[program]] if program in _AFTERWORDS else []
    return "\n\n".join(parts) + "\n"


def _script(path: str) -> tuple[str, str, str]:
    """Return the environment and the module that a script of `bin/` starts."""
    text = (PROJECT / path).read_text()
    found = re.search(r"\.venv/(\w+)/bin/python\" -m ([\w.]+)", text)
    if found is None:
        raise ValueError(f"{path} starts no module of ours")
    return path, found[1], found[2]


def _program(program: str, environment: str, module: str) -> Iterator[str]:
    commands = _commands(environment, module)
    if not program.startswith("bin/"):
        yield f"Environment: {environment}."
    if any(command["name"] for command in commands):
        yield table(("command", "does"), ((f"`{_usage(command)}`", command["help"]) for command in commands))
    arguments = [
        ((f"`{command['name']}`",) if command["name"] else ()) + (f"`{argument['name']}`", argument["help"])
        for command in commands
        for argument in command["arguments"]
        if argument["help"] and argument["name"] != "--json"
    ]
    if arguments:
        yield table(("command", "argument", "meaning")[-len(arguments[0]) :], arguments)


def _usage(command: dict[str, Any]) -> str:
    names = (f"[{each['name']}]" if each["optional"] else each["name"] for each in command["arguments"])
    return " ".join([command["name"], *names])


def _commands(environment: str, module: str) -> list[dict[str, Any]]:
    python = interpreter(environment)
    done = subprocess.run(
        [python, "-m", "docs.generate.parsers", module],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
