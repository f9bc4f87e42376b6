"""The copies that are timed, and that a comparison of unequal work is refused."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.results import OtherWorkError
from benchmarks.training import airflow, pipeline
from harness import PROJECT, workspaces
from harness.workspaces import TWO_MONTHS, Workspace

BARE_SCRIPTS = sorted({script for script, _, _ in pipeline.BARE_STEPS})
EVIDENCE = {"rows": 9, "expectations": 3, "failed": 0, "training_rows": 7, "rounds": 5, "roc_auc": 0.71}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workspaces, "HOME", tmp_path)
    return tmp_path


@pytest.fixture
def worked(tmp_path: Path) -> Workspace:
    """A workspace whose pipeline did what EVIDENCE says; what we count ourselves is no work of Great Expectations."""
    expected = [{"type": "expect_column_values_to_not_be_null"}]
    for name, content in (
        (
            "reports/validation.json",
            {
                "2024-01": {"expectations": [*expected, *expected, {"type": "rows_split_off"}]},
                "2024-02": {
                    "expectations": [
                        *expected,
                        {"type": "rows_split_off"},
                        {"type": "distribution_like_an_earlier_month"},
                    ]
                },
            },
        ),
        ("models/training.json", {"rows": 7, "rounds": 5}),
        ("metrics.json", {"roc_auc": 0.71}),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return Workspace(tmp_path)


def test_equal_work_may_be_compared(worked: Workspace) -> None:
    pipeline._check_same_work(worked, EVIDENCE)


@pytest.mark.parametrize(
    "change", [{"expectations": 2}, {"failed": 1}, {"training_rows": 8}, {"rounds": 4}, {"roc_auc": 0.716}]
)
def test_unequal_work_is_not_compared(worked: Workspace, change: dict[str, float]) -> None:
    with pytest.raises(OtherWorkError):
        pipeline._check_same_work(worked, EVIDENCE | change)


def test_every_step_of_the_bare_scripts_is_run() -> None:
    for script in BARE_SCRIPTS:
        steps = [step for of, step, _ in pipeline.BARE_STEPS if of == script]
        text = (PROJECT / "benchmarks/peers/pipeline" / script).read_text()
        assert f"for step in ({', '.join(steps)})" in text


def test_the_bare_scripts_use_nothing_of_ours_and_no_dvc() -> None:
    for script in BARE_SCRIPTS:
        text = (PROJECT / "benchmarks/peers/pipeline" / script).read_text()
        imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
        assert "polars" in imported
        assert not imported & {"contract", "pipelines", "bentos", "fleet", "benchmarks", "dvc"}


def test_a_copy_holds_the_working_tree_and_the_changed_params_alone(home: Path) -> None:
    copy = workspaces.empty("copy", TWO_MONTHS)
    ours, theirs = (yaml.safe_load((root / "params.yaml").read_text()) for root in (PROJECT, copy.path))
    assert theirs["data"]["months"] == ["2013-03", "2013-04"]
    assert theirs["split"] == ours["split"] | {"validation": "10d"}
    for section in ("data", "split"):
        ours.pop(section), theirs.pop(section)
    assert theirs == ours
    assert (copy.path / "dvc.yaml").read_bytes() == (PROJECT / "dvc.yaml").read_bytes()
    assert not [name for name in ("dvc.lock", ".dvc/cache", "data", ".venv") if (copy.path / name).exists()]
    assert not [path for path in (copy.path / "var").rglob("*") if path.is_file()]
    status = subprocess.run(["git", "status", "--porcelain"], cwd=copy.path, capture_output=True, text=True, check=True)
    assert status.stdout == ""


def test_an_empty_copy_forgets_what_was_computed_and_a_copy_keeps_it(home: Path) -> None:
    copy = workspaces.empty("copy")
    (copy.path / "data").mkdir()
    assert (workspaces.copied("copy").path / "data").exists()
    assert not (workspaces.empty("copy").path / "data").exists()


def test_a_timed_command_sees_no_setting_of_ours_but_its_own_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BULKHEAD_STORE", "BULKHEAD_VAR", "DVC_SITE_CACHE_DIR", "AIRFLOW_HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, "/elsewhere")
    environment = Workspace(tmp_path).environment
    assert environment["BULKHEAD_STORE"] == str(tmp_path / "store")
    assert "/elsewhere" not in environment.values()


def test_outputs_are_the_digests_of_a_lock(tmp_path: Path) -> None:
    outs = {"stages": {"a": {"outs": [{"path": "x", "md5": "1"}]}, "b": {"outs": [{"path": "y", "md5": "2"}]}}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(outs))
    assert Workspace(tmp_path).outputs() == {"x": "1", "y": "2"}


class _Rest(BaseHTTPRequestHandler):
    """Just enough of Airflow: a run that is running once, then as `final` says."""

    final = "success"
    ended = "2999-01-01T00:00:00Z"
    asked: list[str]

    def do_GET(self) -> None:
        self._reply("GET")

    def do_POST(self) -> None:
        self._reply("POST")

    def do_PATCH(self) -> None:
        self._reply("PATCH")

    def _reply(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = type(self).asked
        asked.append(f"{method} {self.path} {body}".strip())
        answer: dict[str, Any] = {"dag_run_id": "one"}
        if self.path.endswith("/dags"):
            answer = {"dags": [{"dag_id": "train"}, {"dag_id": "other"}]}
        elif self.path.endswith("/one"):
            is_over = asked.count(f"GET {self.path}") > 1
            answer = (
                {"state": self.final, "end_date": self.ended} if is_over else {"state": "running", "end_date": None}
            )
        elif self.path.endswith("/taskInstances"):
            answer = {"task_instances": [{"task_id": "open", "state": "failed"}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[airflow.Airflow]:
    monkeypatch.setattr(_Rest, "asked", [], raising=False)
    with HTTPServer(("127.0.0.1", 0), _Rest) as server:
        monkeypatch.setattr(airflow, "free_ports", lambda count: [server.server_port, *range(1, count)])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield airflow.Airflow(Workspace(tmp_path))
        server.shutdown()
        thread.join()


def test_a_run_is_timed_to_the_end_that_airflow_records_with_the_other_dags_paused(rest: airflow.Airflow) -> None:
    left_s = (datetime.fromisoformat(_Rest.ended) - datetime.now(UTC)).total_seconds()
    assert rest.time_run("train", partition_key="2013-04") == pytest.approx(left_s, abs=600)
    assert 'PATCH /api/v2/dags/other {"is_paused": true}' in _Rest.asked
    assert not [asked for asked in _Rest.asked if asked.startswith("PATCH /api/v2/dags/train ")]
    assert 'POST /api/v2/dags/train/dagRuns {"logical_date": null, "partition_key": "2013-04"}' in _Rest.asked


def test_a_failed_run_gives_no_time(rest: airflow.Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Rest, "final", "failed")
    with pytest.raises(airflow.RunFailedError, match="train is failed: open failed"):
        rest.time_run("train", partition_key="2013-04")
