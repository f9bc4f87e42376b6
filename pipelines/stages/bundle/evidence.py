"""The bundle's SBOM and provenance, in the field's formats; the same run gives the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contract.bundle import evidence
from contract.errors import BundleError
from contract.files import canonical_json

_URN = "urn:bulkhead:bundle:v1"


def sbom(python: Path, model: Mapping[str, Any]) -> bytes:
    """Return a CycloneDX SBOM of the environment of this interpreter, without time and serial number.

    Args:
        model: the component that is described (`pipelines.stages.bundle.card`).

    Raises:
        BundleError: the SBOM could not be made; with the output of the tool.
    """
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        "--sv",
        "1.7",
        "--output-reproducible",
        "--no-validate",
    ]
    done = subprocess.run([*command, "--of", "JSON", str(python)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BundleError(f"making the SBOM of {python} failed:\n{done.stderr}")
    found = json.loads(done.stdout)
    found["metadata"]["component"] = model
    return canonical_json(found)


def provenance(files: dict[str, str], inputs: Mapping[str, Any], lock: str) -> bytes:
    """Return an in-toto statement with SLSA provenance: the params, data, code and builder of these files.

    Args:
        files: SHA-256 of the bundle's files by path.
        inputs: those of the manifest.
        lock: path of the lock of the environment that trained, in the project.

    Source: SLSA specification v1.0, provenance.
    """
    statement = {
        "_type": evidence.STATEMENT_TYPE,
        "subject": evidence.subjects(files),
        "predicateType": evidence.PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": _URN,
                "externalParameters": {"params": inputs["params"]},
                "internalParameters": {},
                "resolvedDependencies": [
                    *(
                        _resource(f"data/partitions/{month}.parquet", sha)
                        for month, sha in inputs["partitions"].items()
                    ),
                    *(_resource(path, sha) for path, sha in inputs["pipeline_code"].items()),
                    _resource(lock, inputs["pipeline_environment"]),
                ],
            },
            "runDetails": {
                "builder": {
                    "id": "urn:bulkhead:pipelines",
                    "version": {"bentoml": version("bentoml"), "python": ".".join(map(str, sys.version_info[:3]))},
                },
            },
        },
    }
    return canonical_json(statement)


def _resource(uri: str, sha256: str) -> dict[str, Any]:
    return {"uri": uri, "digest": {"sha256": sha256}}
