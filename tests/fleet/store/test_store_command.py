"""`bin/store` on real bundles, in a directory: what operators and programs are told, and what `gc` leaves alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import evidence, manifest, signature
from contract.errors import EXIT_USAGE, ConfigurationError
from contract.files import canonical_json
from contract.store.store import Store
from fleet.configuration import state
from fleet.store import callers
from fleet.store.__main__ import main
from fleet.store.diff import changes, flat
from tests.contract.conftest import write_bundle
from tests.fleet.conftest import KEY, changed


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), private_key=KEY)


@pytest.fixture
def run(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("BULKHEAD_STORE", store.location)
    monkeypatch.setenv("BULKHEAD_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("BULKHEAD_VERIFY_KEY", signature.public_key_of(KEY).decode())

    def command(*arguments: str) -> Done:
        code = main(list(arguments))
        return Done(code, *capsys.readouterr())

    return command


def answer(done: Done) -> Any:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def another(source: Path, target: Path) -> Path:
    """Made from one month more, with another depth, code and order of labels, served with another package, scored a bit better."""

    def raise_limit(artifact: Path) -> None:
        lock = artifact.parent / "requirements.txt"
        lock.write_text(lock.read_text().replace("numpy==", "numpy==9."))
        schema = json.loads((artifact / "schema.json").read_bytes())
        schema["target"]["labels"].reverse()
        (artifact / "schema.json").write_bytes(canonical_json(schema))

    changed(source, target, raise_limit)
    claims = manifest.read(target)
    inputs = claims.inputs | {"partitions": claims.inputs["partitions"] | {"2013-05": "5" * 64}}
    inputs["params"] = inputs["params"] | {"train": inputs["params"]["train"] | {"max_depth": 99}}
    inputs["pipeline_code"] = inputs["pipeline_code"] | {"pipelines/paths.py": "6" * 64}
    metrics = claims.metrics | {"roc_auc": claims.metrics["roc_auc"] + 0.01}
    (target / manifest.FILE_NAME).write_bytes(replace(claims, inputs=inputs, metrics=metrics).to_bytes())
    return target


def test_list_show_and_diff_say_what_bundles_are(source: Path, store: Store, run: Run, tmp_path: Path) -> None:
    a, b = store.put(source), store.put(another(source, tmp_path / "another"))
    store.move("candidate", a, expected=None, by="publish")
    store.move("live", a, expected=None, by="fleet")
    claims = manifest.read(source)
    rows = {row["digest"]: row for row in answer(run("list", "--json"))["bundles"]}
    assert (rows[a]["channels"], rows[b]["channels"]) == (["candidate", "live"], [])
    assert (rows[a]["name"], rows[a]["metric"]) == (claims.name, {"roc_auc": claims.metrics["roc_auc"]})
    bounds = claims.metrics["bounds"]["roc_auc"]
    assert rows[a]["bounds"] == {"roc_auc": bounds}
    with_bounds = f"{claims.metrics['roc_auc']:.4f} ({bounds['lower_bound']:.4f} to {bounds['upper_bound']:.4f})"
    assert f"roc_auc {with_bounds}" in run("list").stdout
    assert f"roc_auc {with_bounds}" in run("show", a).stdout
    assert rows[a]["size_bytes"] == sum(path.stat().st_size for path in store.path(a).rglob("*") if path.is_file())
    assert run("list").stdout.startswith("bundle ")
    shown = answer(run("show", "live", "--json"))
    gates = json.loads((source / evidence.GATES).read_bytes())
    assert (shown["inputs"], shown["gate"]) == (claims.inputs, gates)
    assert claims.gate.items() <= gates.items()
    assert shown["signature"] == {
        "key": signature.key_id(signature.public_key_of(KEY)),
        "verifies": True,
        "problem": None,
    }
    assert f"{claims.name} {a}" in run("show", a[:8]).stdout
    found = answer(run("diff", "live", b[:10], "--json"))
    assert found["partitions"] == {"2013-05": [None, "5" * 64]}
    assert found["params"] == {"train.max_depth": [claims.inputs["params"]["train"]["max_depth"], 99]}
    assert found["code"] == {"pipelines/paths.py": [claims.inputs["pipeline_code"]["pipelines/paths.py"], "6" * 64]}
    assert list(found["packages"]) == ["numpy"]
    assert list(found["files"]) == ["src/bundle/schema.json", "src/requirements.txt"]
    assert found["breaks"] == ["target, labels: [on_time, late] before, [late, on_time] now"]
    assert found["metrics"]["roc_auc"][1] - found["metrics"]["roc_auc"][0] == pytest.approx(0.01)
    assert f"{'roc_auc':<26}{with_bounds:<30}" in run("diff", a, b).stdout
    assert "train.max_depth" in run("diff", a, b).stdout
    assert "breaks callers of a when b answers: 1\n" in run("diff", a, b).stdout
    assert "breaks callers of a when b answers: nothing" in run("diff", a, a).stdout


def test_bundle_is_refused_when_it_breaks_callers_of_the_live_one(source: Path, store: Store, tmp_path: Path) -> None:
    a, b = store.put(source), store.put(another(source, tmp_path / "another"))
    with pytest.raises(
        ConfigurationError, match=r"(?s)breaks callers of the live bundle.*--breaking.*labels"
    ) as caught:
        callers.check(a, b, store.path, breaking=False)
    assert caught.value.exit_code == 78
    for live, digest, breaking in ((None, b, False), (a, a, False), (a, b, True)):
        callers.check(live, digest, store.path, breaking=breaking)


def test_bundle_is_refused_when_the_live_one_cannot_be_read(source: Path, store: Store, tmp_path: Path) -> None:
    a, b = store.put(source), store.put(another(source, tmp_path / "another"))
    schema = store.path(a) / manifest.ARTIFACT / "schema.json"
    schema.chmod(0o644)
    schema.write_text("{}")
    with pytest.raises(ConfigurationError, match="cannot tell what callers send today"):
        callers.check(a, b, store.path, breaking=False)
    callers.check(a, b, store.path, breaking=True)


def test_path_is_where_the_verified_bundle_lies(store: Store, run: Run, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    digest = store.put(tmp_path / "bundle")
    assert run("path", digest).stdout.strip() == str(store.path(digest))
    model = store.path(digest) / "src" / "model.onnx"
    model.chmod(0o644)
    model.write_text("veights")
    refused = run("path", digest, "--json")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (65, 65)
    assert "model.onnx" in answer(run("show", digest, "--json"))["signature"]["problem"]


def test_list_shows_the_rest_when_one_manifest_is_broken(store: Store, run: Run, tmp_path: Path) -> None:
    for name in "ab":
        write_bundle(tmp_path / name, name)
    good, bad = store.put(tmp_path / "a"), store.put(tmp_path / "b")
    path = store.path(bad) / manifest.FILE_NAME
    path.chmod(0o644)
    path.write_text("{}")
    rows = {row["digest"]: row["problem"] for row in answer(run("list", "--json"))["bundles"]}
    assert rows[good] is None
    assert "corrupt" in rows[bad]


@pytest.mark.parametrize(
    ("arguments", "code"), [(("show", "live"), 65), (("diff", "live", "0" * 8), 65), (("show", "Live"), 78)]
)
def test_command_is_refused_when_there_is_no_such_bundle(run: Run, arguments: tuple[str, ...], code: int) -> None:
    refused = run(*arguments, "--json")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (code, code)
    assert refused.stderr.startswith(f"store {arguments[0]} stopped: ")


def test_gc_deletes_only_what_is_old_and_named_by_nobody(store: Store, run: Run, tmp_path: Path) -> None:
    for name in "abcde":
        write_bundle(tmp_path / name, name)
    was_live, live, candidate, canary, orphan = (store.put(tmp_path / name) for name in "abcde")
    for channel, digest in (("live", was_live), ("live", live), ("candidate", candidate)):
        store.move(channel, digest, expected=store.read(channel), by="test")
    state.save(tmp_path / "var" / "fleet" / "state.json", state.State(live=live, canary=state.Canary(canary, 10)))
    torn = tmp_path / "store" / "bundles" / ".incoming-0123"
    write_bundle(torn)
    (tmp_path / "store" / "channels" / ".live.json.77.part").write_text("{")
    everything = set(store.digests())
    young = answer(run("gc", "--delete", "--json"))
    assert (young["bundles"], young["leftovers"], young["size_bytes"]) == ([], [], 0)
    shown = answer(run("gc", "--grace-hours", "0", "--json"))
    assert [entry["name"] for entry in shown["bundles"]] == [orphan]
    assert {entry["name"] for entry in shown["leftovers"]} == {torn.name, ".live.json.77.part"}
    assert (set(store.digests()), torn.exists(), shown["deleted"]) == (everything, True, False)
    assert "would free" in run("gc", "--grace-hours", "0").stdout
    assert answer(run("gc", "--grace-hours", "0", "--delete", "--json")) == shown | {"deleted": True}
    assert set(store.digests()) == everything - {orphan}
    assert (store.leftovers(), run("gc", "--grace-hours", "0").stdout) == ([], "nothing to delete\n")
    assert store.path(store.resolve("live")).is_dir()
    assert store.put(tmp_path / "e") == orphan


def test_gc_deletes_what_is_installed_for_bundles_that_nobody_can_go_back_to(
    store: Store, run: Run, tmp_path: Path
) -> None:
    root = tmp_path / "var" / "fleet"
    for name in ("was_live", "live", "orphan"):
        write_bundle(tmp_path / name, name)
    was_live, live, orphan = (store.put(tmp_path / name) for name in ("was_live", "live", "orphan"))
    for digest in (was_live, live):
        store.move("live", digest, expected=store.read("live"), by="test")
    for digest in (was_live, live, orphan):
        store.copy(digest, root / "bundles")
    (root / "bundles" / live / manifest.FILE_NAME).chmod(0o600)
    (root / "bundles" / live / manifest.FILE_NAME).write_text("{}")  # the environment of what is damaged is needed, too
    needed, other = store.claims(live).environment["lock_sha256"], "0" * 64
    for name in (needed, other, ".incoming-0123"):
        (root / "environments" / name).mkdir(parents=True)
    for name in (needed, other):
        (tmp_path / "var" / "environments" / name).mkdir(parents=True)
    for folder, suffix in (("logs", ".log"), ("logs", ".log.1"), ("replicas", ""), ("run", ".http")):
        (root / folder).mkdir(exist_ok=True)
        for digest in (was_live, live, orphan):
            path = root / folder / f"{digest[:8]}-0{suffix}"
            path.touch() if suffix else path.mkdir()
    for digest in (live, orphan):
        store.copy(digest, tmp_path / "var" / "bundles")  # as a store in a bucket does
    # Six Envoys, one after another; the first still runs, and has nothing to say.
    (root / "programs").mkdir()
    (root / "programs" / "envoy-0.conf").touch()
    for epoch in range(6):
        for part in ("log", "log.1"):
            (root / "logs" / f"envoy-{epoch}.{part}").touch()
            os.utime(root / "logs" / f"envoy-{epoch}.{part}", (epoch, epoch))
    kept = [root / "logs" / f"envoy-{epoch}.log" for epoch in (0, 3, 4, 5)]
    kept += [root / "logs" / "supervisord.log", root / "run" / "e_parent_0"]
    for path in kept[4:]:
        path.touch()
    assert answer(run("gc", "--json"))["installed"] == []
    shown = answer(run("gc", "--grace-hours", "0", "--json"))["installed"]
    unneeded = [
        f"bundles/{orphan}",
        f"fetched/{orphan}",
        "environments/.incoming-0123",
        f"environments/{other}",
        f"training/{other}",
    ]
    unneeded += [f"logs/{orphan[:8]}-0.log", f"logs/{orphan[:8]}-0.log.1"]
    unneeded += [f"logs/envoy-{epoch}.{part}" for epoch in (1, 2) for part in ("log", "log.1")]
    unneeded += [f"replicas/{orphan[:8]}-0", f"run/{orphan[:8]}-0.http"]
    assert sorted(entry["name"] for entry in shown) == sorted(unneeded)
    assert answer(run("gc", "--grace-hours", "0", "--delete", "--json"))["installed"] == shown
    assert {path.name for path in (root / "bundles").iterdir()} == {was_live, live}
    for environments in (root / "environments", tmp_path / "var" / "environments"):
        assert [path.name for path in environments.iterdir()] == [needed]
    assert all(path.exists() for path in kept)
    assert len(list((root / "logs").iterdir())) == 2 * 2 + 2 * 4 + 1
    assert answer(run("gc", "--grace-hours", "0", "--json"))["installed"] == []


def test_gc_deletes_environments_of_a_machine_that_only_trains(store: Store, run: Run, tmp_path: Path) -> None:
    environment = tmp_path / "var" / "environments" / ("0" * 64)
    environment.mkdir(parents=True)
    assert "training/000" in run("gc", "--grace-hours", "0", "--delete").stdout
    assert (environment.exists(), (tmp_path / "var" / "fleet").exists()) == (False, False)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon"])
def test_gc_is_refused_when_the_grace_is_no_time(run: Run, text: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("gc", "--grace-hours", text)
    assert stopped.value.code == EXIT_USAGE


def test_init_is_refused_when_the_store_is_a_bucket(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_STORE", "s3://bucket/prefix")
    done = run("init", "--training", "1", "--fleet", "2")
    assert (done.returncode, "policies" in done.stderr) == (78, True)


def test_changes_are_those_of_nested_values_by_dotted_name() -> None:
    a, b = {"x": {"y": 1, "z": [1]}, "same": {}}, {"x": {"y": 2}, "same": {}, "new": None}
    assert changes(flat(a), flat(b)) == {"x.y": (1, 2), "x.z": ([1], None)}
