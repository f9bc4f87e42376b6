"""Stage `declare`: what a collected month depends on, in one small file.

Each month of `collect` depends on that file. If each depended on the parameters themselves, `dvc.lock` would repeat them for every month,
and DVC parses and writes that file again at each stage.
"""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML

from contract.files import canonical_json, write_atomically
from pipelines import paths

# The same keys as in dvc.yaml.
KEYS = ("data.source", "data.time", "data.key", "data.columns", "target.column", "target.task")


def run() -> str:
    """Write `data/declared.json`: the values in `params.yaml` as they stand there, without the defaults of our code.

    A default that changes leaves the file as it is, and so every collected month.
    """
    raw = YAML(typ="safe").load(paths.PARAMS)
    write_atomically(paths.DECLARED, canonical_json({key: _value(raw, key) for key in KEYS}))
    return f"{len(KEYS)} keys of {paths.PARAMS}"


def _value(raw: dict[str, Any], key: str) -> Any:
    section, name = key.split(".")
    return raw[section].get(name)
