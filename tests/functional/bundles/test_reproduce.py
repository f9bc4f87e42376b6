"""`reproduce`: a published bundle is built again to the same digest, or what differs is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from contract.bundle import manifest, signature
from contract.files import canonical_json
from contract.store.store import Store
from pipelines.commands.reproduce.differences import between
from pipelines.params import file as params_file
from tests.functional.commands import run


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    shutil.copytree(project, directory, symlinks=True)
    return directory


def _store(project: Path) -> Store:
    return Store(str(project / "store"), private_key=signature.make_key())


def _reproduce(project: Path, digest: str, *more: str) -> tuple[int, str]:
    done = run(project, "python", "-m", "pipelines", "reproduce", digest, *more)
    return done.returncode, done.stdout + done.stderr


def _commit(project: Path, changes: dict[str, tuple[str, str]]) -> None:
    for name, (old, new) in changes.items():
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new))
    done = run(project, "git", "commit", "--quiet", "--all", "--message=Change")
    assert done.returncode == 0, done.stderr


def test_reproduce_gives_an_old_bundle_its_digest_when_code_params_and_live_model_have_changed(copy: Path) -> None:
    store = _store(copy)
    store.move("live", store.put(copy / "build" / "bundle"), expected=None, by="test")
    before = store.read("live")
    assert before
    deeper = {"params.yaml": ("max_depth: 8", "max_depth: 7")}
    _commit(copy, deeper)
    assert run(copy, "dvc", "repro", "bundle").returncode == 0
    digest = store.put(copy / "build" / "bundle")
    store.move("live", digest, expected=before, by="test")
    _commit(
        copy,
        {
            **{name: (new, old) for name, (old, new) in deeper.items()},
            "pipelines/columns/golden.py": ("_COUNT = 32", "_COUNT = 31"),
        },
    )
    for made in ("data", "models", "reports", "build"):
        shutil.rmtree(copy / made)

    assert manifest.read(store.path(digest)).gate["champion"] == before.digest
    code, told = _reproduce(copy, digest[:12], "--out", "again")
    assert code == 0, told
    assert (code, told.split()[:3]) == (0, [digest, "is", "reproduced"])
    assert manifest.digest_of(copy / "again") == digest
    assert list((copy / "var" / "reproduced").iterdir()) == []


def test_reproduce_names_every_input_that_is_missing_or_differs(copy: Path) -> None:
    bundle = copy / "build" / "bundle"
    claims = manifest.read(bundle)
    objects = copy / ".dvc" / "cache" / "files" / "md5"
    lost, corrupt = (objects / md5[:2] / md5[2:] for md5 in claims.inputs["objects"].values())
    lost.unlink()
    corrupt.chmod(0o644)
    corrupt.write_bytes(corrupt.read_bytes()[:-1] + b"\0")
    code = claims.inputs["pipeline_code"] | {"pipelines/paths.py": "0" * 64}
    changed = replace(claims, inputs=claims.inputs | {"pipeline_code": code}, gate=claims.gate | {"champion": "f" * 64})
    (bundle / manifest.FILE_NAME).write_bytes(changed.to_bytes())

    exit_code, told = _reproduce(copy, _store(copy).put(bundle))
    assert exit_code == 65
    lines = [line for line in told.splitlines() if line.startswith("  - ")]
    assert ["pipelines/paths.py differs" in line for line in lines] == [False, True, False, False, False]
    assert "code: no commit has the code of this bundle" in lines[0]
    assert all("parquet" in line and "neither in the cache nor in the remote" in line for line in lines[2:4])
    assert "champion: the model was judged against ffffffffffff" in lines[4]


def test_differences_name_the_inputs_first_and_then_what_came_of_them(copy: Path, tmp_path: Path) -> None:
    published, rebuilt = copy / "build" / "bundle", tmp_path / "rebuilt"
    assert between(published, published) == []
    rebuilt.mkdir()
    claims = json.loads((published / manifest.FILE_NAME).read_bytes())
    claims["metrics"]["roc_auc"] = 0.5
    del claims["inputs"]["objects"]["2013-03"]
    (rebuilt / manifest.FILE_NAME).write_bytes(canonical_json(claims))
    told = [problem.problem.split(": ")[0] for problem in between(published, rebuilt)]
    assert told == ["inputs.objects.2013-03", "metrics.roc_auc"]


@pytest.mark.parametrize("path", [Path("params.yaml"), *sorted(Path("examples").glob("*.yaml"))], ids=str)
def test_params_in_a_bundle_are_those_of_the_file_in_the_same_order(path: Path) -> None:
    declared = params_file.load(path)
    content = params_file.text(declared)
    parsed = params_file.parse(content, "bundle")
    assert parsed == declared
    assert [list(parsed.features), list(parsed.data.columns)] == [list(declared.features), list(declared.data.columns)]
    assert params_file.text(parsed) == content
    assert list(yaml.safe_load(content)["features"]) == list(declared.features)
