"""Stage `bundle`: the approved model, its schema and the code that serves it, as a bento with a manifest over every byte."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from contract.bundle import evidence, limits, manifest
from contract.bundle.manifest import GOLDEN_FILE_NAME, Manifest
from contract.environment import environments
from contract.errors import ModelRejectedError
from contract.files import canonical_json, sha256, tree_bytes, write_atomically
from contract.model import reference
from contract.model.predictor import MODEL_FILE_NAME, Predictor
from contract.schema import schema
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.columns.declared import served
from pipelines.columns.golden import golden_cases
from pipelines.data import pages
from pipelines.params import file as params_file
from pipelines.params.params import Params
from pipelines.params.serving import Serving
from pipelines.paths import var_directory
from pipelines.stages.bundle import bento, card
from pipelines.stages.bundle import evidence as making

_LOCK = f"src/{bento.LOCK_NAME}"
# Of the gates, the part that later runs read of the manifest; all of it is in the evidence.
_DECIDED = ("verdict", "approved", "champion", "headline", "learned")
_PROJECT = Path(__file__).parents[3]


def run(params: Params) -> str:
    """Build `build/bundle`, and name its digest in `reports/evaluation.html`; equal inputs give an equal digest.

    Raises:
        ModelRejectedError: `evaluate` did not approve the model.
    """
    approval = json.loads(paths.GATES.read_bytes())
    if not approval["approved"]:
        raise ModelRejectedError(
            f"{paths.GATES}: the model is {approval['verdict']}; only an approved model is bundled"
        )
    with tempfile.TemporaryDirectory() as directory:
        artifact, context, built = (Path(directory) / name for name in ("artifact", "context", "built"))
        _write_artifact(params.serving, artifact)
        context.mkdir()
        bento.stage_sources(_PROJECT, artifact, context)
        bento.build(context, params.name.lower(), sha256(artifact / MODEL_FILE_NAME)[:16], built)
        inputs = _inputs(params)
        write_atomically(built / manifest.PARAMS_FILE_NAME, params_file.text(params))
        write_atomically(built / evidence.GATES, canonical_json(approval))
        shutil.copyfile(paths.MODEL_CARD, built / evidence.MODEL_CARD)
        model = card.component(params, approval, inputs, sha256(artifact / MODEL_FILE_NAME))
        _write_evidence(built, inputs, params.train.lock, model)
        write_atomically(
            built / manifest.FILE_NAME, _manifest(params.name, params.target.task, approval, inputs, built).to_bytes()
        )
        digest = manifest.digest_of(built)
        evidence.check(built, manifest.verify(built, digest))
        shutil.rmtree(paths.BUNDLE, ignore_errors=True)
        shutil.copytree(built, paths.BUNDLE)
        write_atomically(paths.EVALUATION, pages.of_bundle(paths.VERDICT.read_text(), digest).encode())
    return f"bundle {digest[:12]}, {tree_bytes(paths.BUNDLE) / 1e6:.1f} MB"


def _write_artifact(serving: Serving, artifact: Path) -> None:
    """Write the files that the server reads, with the golden answers of this artifact."""
    artifact.mkdir()
    for name in (MODEL_FILE_NAME, reference.FILE_NAME):
        shutil.copyfile(paths.BOOSTED / name, artifact / name)
    judged = FeatureSchema.from_bytes((paths.BOOSTED / schema.FILE_NAME).read_bytes())
    write_atomically(artifact / schema.FILE_NAME, served(judged, serving.deprecated).to_bytes())
    golden = golden_cases(Predictor.load(artifact))
    write_atomically(artifact / GOLDEN_FILE_NAME, canonical_json(golden))
    write_atomically(artifact / limits.FILE_NAME, canonical_json(serving.model_dump(exclude={"budget", "deprecated"})))


def _inputs(params: Params) -> dict[str, Any]:
    validated = json.loads(paths.VALIDATION.read_bytes())
    return {
        "partitions": {month: validated[month]["partition_sha256"] for month in params.data.months},
        "objects": {month: validated[month]["partition_md5"] for month in params.data.months},
        "params": params.model_dump(mode="json", by_alias=True, exclude={"costs"}),
        "pipeline_lock": params.train.lock,
        "tuning": {name: value for name, value in json.loads(paths.TUNING.read_bytes()).items() if name != "trials"},
        "pipeline_environment": sha256(_PROJECT / params.train.lock),
        "pipeline_code": _code_digests(_PROJECT / "pipelines"),
    }


def _write_evidence(built: Path, inputs: dict[str, Any], pipeline_lock: str, model: dict[str, Any]) -> None:
    """Write the SBOM, and then the provenance, which lists the SBOM too."""
    lock = built / _LOCK
    python = environments.python_for(lock, sha256(lock), var_directory() / "environments")
    write_atomically(built / evidence.SBOM, making.sbom(python, model))
    write_atomically(
        built / evidence.PROVENANCE, making.provenance(manifest.tree_digests(built), inputs, pipeline_lock)
    )


def _manifest(name: str, task: str, approval: dict[str, Any], inputs: dict[str, Any], built: Path) -> Manifest:
    return Manifest(
        name=name,
        task=task,
        files=manifest.tree_digests(built),
        environment={"lock": _LOCK, "lock_sha256": sha256(built / _LOCK)},
        inputs=inputs,
        metrics=json.loads(paths.METRICS.read_bytes()),
        gate={name: approval[name] for name in _DECIDED},
    )


def _code_digests(package: Path) -> dict[str, str]:
    return {path.relative_to(package.parent).as_posix(): sha256(path) for path in sorted(package.rglob("*.py"))}
