"""The bundle that benchmarks serve, with its golden requests and answers and the model's UBJ form beside it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from contract.bundle import limits, manifest
from contract.bundle.limits import Limits
from harness import PROJECT, workspaces

VARIABLE = "BULKHEAD_TEST_BUNDLE"
BUILT = Path("build/bundle")


class NoModelError(Exception):
    """`model.ubj`, the model in XGBoost's own form that the peers need, is missing or another model's."""


@dataclass(frozen=True)
class Bundle:
    """A built bundle in the workspace that built it."""

    path: Path

    @property
    def model(self) -> Path:
        """The directory with `model.ubj` and `schema.json` of the same model.

        Raises:
            NoModelError: there is none beside the bundle, or it is another model's.
        """
        directory = self.path.parents[1] / "models/boosted"
        served = self.path / manifest.ARTIFACT
        if not (directory / "model.ubj").is_file():
            raise NoModelError(f"{directory} has no model.ubj: give {VARIABLE} a bundle in the project that built it")
        for name in ("model.onnx", "schema.json"):
            if (directory / name).read_bytes() != (served / name).read_bytes():
                raise NoModelError(f"{directory / name} is not the one in {self.path}; run `dvc repro` there")
        return directory

    @cached_property
    def golden(self) -> list[dict[str, Any]]:
        """The `row` and `answer` of each golden request."""
        cases: list[dict[str, Any]] = json.loads((self.path / manifest.ARTIFACT / "golden.json").read_bytes())
        return cases

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The content of `schema.json`."""
        content: dict[str, Any] = json.loads((self.path / manifest.ARTIFACT / "schema.json").read_bytes())
        return content

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each field of a request."""
        return {field["name"]: field["kind"] for field in self.schema["fields"]}

    @property
    def limits(self) -> Limits:
        """The limits of its server."""
        return Limits.from_bytes((self.path / manifest.ARTIFACT / limits.FILE_NAME).read_bytes())

    @property
    def name(self) -> str:
        """The model's name."""
        return manifest.read(self.path).name


def find() -> Bundle:
    """Return the bundle of BULKHEAD_TEST_BUNDLE, else the built one, else that of a two-month slice, built on the spot."""
    given = os.environ.get(VARIABLE)
    if given:
        return Bundle(Path(given).resolve())
    built = PROJECT / BUILT
    if (built / manifest.FILE_NAME).is_file():
        return Bundle(built)
    workspace = workspaces.copied("slice", workspaces.TWO_MONTHS)
    print(f"no {BUILT} yet: building one of two months in {workspace.path}", flush=True)
    workspace.run("dvc", "--wait-for-lock", "repro")
    return Bundle(workspace.path / BUILT)
