"""Stage `declare`: sections of `params.yaml` that many stages depend on, in small files.

DVC can depend on keys itself (`params:` in dvc.yaml), but repeats their values in `dvc.lock` for each stage, and parses and writes that
file again after each one.
"""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML

from contract.files import canonical_json, write_atomically
from pipelines import paths

KEYS = {
    # What a collected month depends on.
    paths.DECLARED: ("data.source", "data.time", "data.key", "data.columns", "target.column", "target.task"),
    paths.DECLARED_FEATURES: ("features",),
}


def run() -> str:
    """Write the values in `params.yaml` as they stand there, without the defaults of our code.

    A default that changes leaves the files as they are, and so every collected month.
    """
    raw = YAML(typ="safe").load(paths.PARAMS)
    for path, keys in KEYS.items():
        write_atomically(path, canonical_json({key: _value(raw, key) for key in keys}))
    return f"{sum(map(len, KEYS.values()))} keys of {paths.PARAMS}"


def _value(raw: dict[str, Any], key: str) -> Any:
    """Return the value of a key, None if its section lacks it; an error if there is no such section, which the parser explains."""
    section, _, name = key.partition(".")
    return raw[section].get(name) if name else raw[section]
