from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from harness import PROJECT
from pipelines.commands.costs import ledger
from pipelines.runs import months
from pipelines.runs.__main__ import main
from pipelines.runs.commands import environment_of
from pipelines.runs.workspaces.closing import KEPT_FAILED, close_workspace, remove_oldest_failed
from pipelines.runs.workspaces.opening import open_workspace, uncommitted
from pipelines.runs.workspaces.workspace import Workspace, open_workspaces, remove, safe_name
from tests.faults.modes import writable_by_others
from tests.pipelines.runs.conftest import commit, git, repro_in, run_in, workspace_of

DVC_FAILED = 255


def visible(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name != ".guards"]


def test_safe_name_keeps_two_runs_apart_when_their_safe_forms_agree() -> None:
    names = {
        safe_name("manual__2026-11-23T20:37:31+00:00"),
        safe_name("manual__2026-11-23T20/37/31+00/00"),
        safe_name("../.."),
    }
    assert len(names) == 3
    assert all("/" not in name and not name.startswith(".") for name in names)
    assert safe_name("dag.run-1") == "dag.run-1"


def test_open_gives_the_last_commit_and_not_the_working_tree(project: Path, workspace: Workspace) -> None:
    (project / "check.py").write_text("raise SystemExit(1)\n")
    state = open_workspace(workspace)
    assert state.commit == git(project, "rev-parse", "HEAD").strip()
    assert "raise SystemExit(65)" in (workspace.path / "check.py").read_text()


def test_nothing_of_a_workspace_can_be_written_by_others_when_a_stage_has_run(
    project: Path, workspace: Workspace
) -> None:
    open_workspace(workspace)
    assert repro_in(workspace, "validate") == 0
    assert (workspace.path / ".dvc" / "tmp" / "site" / "repo").is_dir()
    assert writable_by_others(project) == []


def test_uncommitted_names_changed_staged_and_new_files(project: Path) -> None:
    assert uncommitted(project) == []
    (project / "check.py").write_text("")
    (project / "params.yaml").unlink()
    git(project, "add", "params.yaml")
    (project / "new.yaml").touch()
    (project / "orders").mkdir()
    (project / "orders" / "2013-01.csv").touch()
    (project / "ignored.txt").touch()
    assert uncommitted(project) == ["check.py", "params.yaml", "new.yaml", "orders/"]


def test_open_says_which_changes_the_run_will_not_see(project: Path) -> None:
    (project / "check.py").write_text("")
    opening = [sys.executable, "-m", "pipelines.runs", "open", "--run", "r"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(opening, cwd=project, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == [
        "uncommitted, so not in the workspace: check.py",
        f"relative paths of data.source start at {project}",
    ]


def test_open_names_the_description_that_is_not_committed_beside_the_month_that_the_committed_one_lacks(
    project: Path,
) -> None:
    (project / "params.yaml").write_text("data: {months: ['2011-01']}\n")
    opening = [sys.executable, "-m", "pipelines.runs", "open", "--run", "r", "--through", "2011-01"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(opening, cwd=project, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (EXIT_CONFIGURATION, "uncommitted, so not in the workspace: params.yaml\n")


def test_open_finds_the_workspace_again_as_it_was_left(workspace: Workspace) -> None:
    first = open_workspace(workspace, through="2013-03")
    (workspace.path / "left.txt").write_text("here")
    assert open_workspace(workspace, through="2013-03") == first
    assert (workspace.path / "left.txt").read_text() == "here"


def test_open_leaves_nothing_when_the_month_is_wrong(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="2012-01"):
        open_workspace(workspace, through="2012-01")
    assert visible(workspace.var / "runs") == []


def test_open_refuses_a_month_that_is_not_over(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="2013-02 is not over"):
        open_workspace(workspace, now="2013-02")
    assert visible(workspace.var / "runs") == []
    assert open_workspace(workspace, now="2013-03").months[-1] == "2013-02"


def test_open_asks_the_clock_when_a_person_names_a_month(project: Path) -> None:
    opening = [sys.executable, "-m", "pipelines.runs", "open", "--run", "r", "--through", "2999-01"]
    done = subprocess.run(
        opening, cwd=project, env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True
    )
    assert done.returncode == 78
    assert "2999-01 is not over" in done.stderr


def test_open_makes_one_workspace_when_two_ask_at_once(workspace: Workspace) -> None:
    with ThreadPoolExecutor(4) as threads:
        states = list(threads.map(lambda _: open_workspace(workspace), range(4)))
    assert len(set(states)) == 1
    assert visible(workspace.var / "runs") == ["first"]


def test_open_makes_many_workspaces_at_once(project: Path) -> None:
    wanted = [workspace_of(project, f"run{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(open_workspace, wanted))
    assert {workspace.run for workspace in open_workspaces(project, project / "var")} == {w.run for w in wanted}


def test_repro_takes_from_the_cache_what_another_run_made(project: Path, workspace: Workspace) -> None:
    open_workspace(workspace)
    assert repro_in(workspace, "collect") == 0
    later = workspace_of(project, "later")
    open_workspace(later, through="2013-03")
    assert repro_in(later, "evaluate") == 0
    collected = (project / "var" / "collected.txt").read_text().split()
    assert sorted(collected) == ["2013-01", "2013-02", "2013-03"]
    assert (later.path / "evaluated.txt").read_text() == "2013-01 2013-02 2013-03"


@pytest.mark.parametrize("left", [0, 1, 0.3, 0.6, 0.99])
def test_repro_goes_on_when_a_kill_has_torn_the_lock_of_dvc(project: Path, workspace: Workspace, left: float) -> None:
    open_workspace(workspace)
    assert repro_in(workspace, "evaluate") == 0
    lock = workspace.path / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: left if left == 1 else int(left * len(whole))])
    assert repro_in(workspace, "evaluate") == 0
    assert yaml.safe_load(lock.read_bytes())["stages"] == yaml.safe_load(whole)["stages"]
    assert len((project / "var" / "collected.txt").read_text().split()) == 2  # from the run cache


def test_repro_gives_the_exit_code_of_the_stage(workspace: Workspace) -> None:
    open_workspace(workspace, through="2013-04")
    assert repro_in(workspace, "evaluate") == 65
    assert workspace.state().failed == "evaluate"


def test_repro_gives_the_exit_code_of_dvc_when_no_stage_failed(workspace: Workspace) -> None:
    open_workspace(workspace)
    (workspace.path / "check.py").unlink()
    assert repro_in(workspace, "evaluate") == DVC_FAILED


def test_the_costs_of_all_tasks_count_for_one_run(workspace: Workspace) -> None:
    open_workspace(workspace)
    script = workspace.path / "check.py"
    script.write_text(f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from pipelines.machine import usage
from pathlib import Path
usage.recorded("validate", lambda: Path("report.txt").write_text("checked") and 0)
""")
    assert repro_in(workspace, "validate") == 0
    (found,) = ledger.read(workspace.var / "costs/ledger.jsonl")
    assert (found.run, found.stage, found.targets, found.outcome) == (
        workspace.name,
        "validate",
        ("validate",),
        "succeeded",
    )


def test_two_runs_work_at_once(project: Path) -> None:
    """DVC may take for broken, and remove, what another run is writing in the cache of runs; that one is tried again, as by Airflow."""
    wanted = [workspace_of(project, f"run{number}") for number in range(3)]
    for number, workspace in enumerate(wanted):
        open_workspace(workspace, through=f"2013-0{number + 1}")
    command = [sys.executable, "-m", "pipelines.runs", "repro", "evaluate", "--run"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    running = [subprocess.Popen([*command, workspace.run], cwd=project, env=environment) for workspace in wanted]
    ended = [process.wait(300) for process in running]
    again = [
        repro_in(workspace, "evaluate") if code == DVC_FAILED else code
        for workspace, code in zip(wanted, ended, strict=True)
    ]
    assert again == [0, 0, 0]
    assert [len((workspace.path / "evaluated.txt").read_text().split()) for workspace in wanted] == [1, 2, 3]


def test_close_records_the_run_and_removes_its_workspace(workspace: Workspace) -> None:
    open_workspace(workspace, through="2013-01")
    repro_in(workspace, "evaluate")
    lock = (workspace.path / "dvc.lock").read_bytes()
    close_workspace(workspace)
    assert not workspace.path.exists()
    assert workspace.recorded_lock.read_bytes() == lock
    assert json.loads(workspace.record.read_bytes())["through"] == "2013-01"
    assert "closed already" in close_workspace(workspace)


def test_close_keeps_the_workspace_when_the_run_failed(workspace: Workspace) -> None:
    open_workspace(workspace)
    assert run_in(workspace, "sh", "-c", "exit 78") == 78
    assert "evidence" in close_workspace(workspace)
    assert workspace.path.exists()
    assert not workspace.recorded_lock.exists()


def test_close_removes_the_workspace_when_the_retry_succeeded(workspace: Workspace) -> None:
    open_workspace(workspace)
    run_in(workspace, "sh", "-c", "exit 75")
    run_in(workspace, "true")
    close_workspace(workspace)
    assert not workspace.path.exists()


def test_only_the_newest_failed_workspaces_are_kept(project: Path) -> None:
    wanted = [workspace_of(project, f"run{number}") for number in range(4)]
    for number, workspace in enumerate(wanted):
        open_workspace(workspace)
        if number:
            run_in(workspace, "false")
    remove_oldest_failed(wanted[0], keep=2)
    assert {workspace.run for workspace in open_workspaces(project, project / "var")} == {"run0", "run2", "run3"}


def test_a_workspace_in_which_a_command_runs_is_not_removed_with_the_failed_ones(project: Path) -> None:
    wanted = [workspace_of(project, f"run{number}") for number in range(2)]
    for workspace in wanted:
        open_workspace(workspace)
        run_in(workspace, "false")
    with wanted[0].guard():
        assert [workspace.is_busy for workspace in wanted] == [True, False]
        remove_oldest_failed(wanted[0], keep=0)
    assert not wanted[0].is_busy
    assert [workspace.run for workspace in open_workspaces(project, project / "var")] == ["run0"]


@pytest.mark.parametrize("meanwhile", ["begins", "succeeds", "is removed"])
def test_failed_workspace_is_left_alone_when_a_retry_or_another_task_was_faster(
    project: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    open_workspace(workspace)
    run_in(workspace, "false")
    with ExitStack() as stack:

        def is_busy(self: Workspace) -> bool:
            """As it was, just before something happens."""
            if meanwhile == "begins":
                stack.enter_context(workspace.guard())
            else:
                workspace.mark(failed=None) if meanwhile == "succeeds" else remove(workspace.path)
            return False

        monkeypatch.setattr(Workspace, "is_busy", property(is_busy))
        remove_oldest_failed(workspace, keep=0)
        assert workspace.path.exists() == (meanwhile != "is removed")


def test_failed_runs_close_at_once(project: Path) -> None:
    wanted = [workspace_of(project, f"run{number}") for number in range(KEPT_FAILED + 4)]
    for workspace in wanted:
        open_workspace(workspace)
        run_in(workspace, "false")
    with ThreadPoolExecutor(len(wanted)) as threads:
        said = list(threads.map(close_workspace, wanted))
    # Another one's `close` may have removed an old one before its own.
    assert all("is kept as evidence" in line or "closed already" in line for line in said)
    remove_oldest_failed(wanted[-1])
    assert [*open_workspaces(project, project / "var")] == wanted[-KEPT_FAILED:]


def test_open_like_an_earlier_run_begins_where_that_one_ended(project: Path, workspace: Workspace) -> None:
    before = open_workspace(workspace, through="2013-01")
    repro_in(workspace, "evaluate")
    close_workspace(workspace)
    (project / "check.py").write_text("raise SystemExit(1)\n")
    commit(project)
    later = workspace_of(project, "later")
    state = open_workspace(later, like=workspace)
    assert (state.commit, state.months) == (before.commit, before.months)
    assert repro_in(later, "bundle") == 0
    assert (project / "var" / "collected.txt").read_text().split() == ["2013-01"]


def test_rows_that_come_late_change_their_month_in_this_run_and_in_later_ones_once_it_is_collected_again(
    project: Path, workspace: Workspace
) -> None:
    (project / "late.txt").write_text("in time")
    pipeline = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(pipeline.replace("echo ${item} > data", "cat ../../../late.txt > data"))
    (project / ".gitignore").write_text("/var/\n/data/\n/*.txt\n")
    commit(project)
    open_workspace(workspace)
    assert repro_in(workspace, "evaluate") == 0
    (project / "dvc.lock").write_bytes((workspace.path / "dvc.lock").read_bytes())
    commit(project)

    (project / "late.txt").write_text("late too")
    late, later = (workspace_of(project, run) for run in ("late", "later"))
    open_workspace(late, again=["2013-01"])
    assert repro_in(late, "collect") == 0
    assert late.state().again == ()
    open_workspace(later)
    assert repro_in(later, "collect") == 0
    for run in (late, later):
        assert [path.read_text() for path in sorted((run.path / "data").iterdir())] == ["late too", "in time"]


def test_open_refuses_to_collect_a_month_again_that_the_run_does_not_have(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match=r"2013-09, x cannot be collected again: .* months 2013-01 to 2013-02"):
        open_workspace(workspace, again=["2013-01", "2013-09", "x"])
    assert visible(workspace.var / "runs") == []


def test_recorded_runs_are_named_when_another_one_was_asked_for(project: Path, workspace: Workspace) -> None:
    nobody = workspace_of(project, "nobody")
    with pytest.raises(ConfigurationError, match="no run is recorded yet"):
        open_workspace(workspace_of(project, "third"), like=nobody)
    open_workspace(workspace)
    repro_in(workspace, "collect")
    close_workspace(workspace)
    with pytest.raises(ConfigurationError, match=r"'nobody' left no record in .*/locks; name one .*: first$"):
        open_workspace(workspace_of(project, "third"), like=nobody)


def test_execute_offers_the_shared_places_by_absolute_path(workspace: Workspace) -> None:
    open_workspace(workspace)
    named = '"$BULKHEAD_STORE" "$BULKHEAD_VAR" "$BULKHEAD_SOURCE_ROOT"'
    assert run_in(workspace, "sh", "-c", f"printf '%s\\n' {named} > seen.txt") == 0
    seen = (workspace.path / "seen.txt").read_text().splitlines()
    assert seen == [str(workspace.project / "store"), str(workspace.var), str(workspace.project)]
    assert months.read(workspace.path / "params.yaml") == ["2013-01", "2013-02"]


def test_files_that_the_environment_names_are_found_from_a_workspace(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "key.pem").touch()
    monkeypatch.setenv("BULKHEAD_SIGNING_KEY", "key.pem")
    monkeypatch.setenv("BULKHEAD_VERIFY_KEY", "-----BEGIN PUBLIC KEY-----\n" + "A" * 5000)
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/hosts")
    seen = environment_of(project, project / "var")
    assert seen["BULKHEAD_SIGNING_KEY"] == str(project / "key.pem")
    assert seen["BULKHEAD_VERIFY_KEY"].startswith("-----BEGIN")
    assert seen["SSL_CERT_FILE"] == "/etc/hosts"


def test_removing_a_workspace_is_no_failure_when_another_task_was_faster(workspace: Workspace) -> None:
    open_workspace(workspace)
    for _ in range(2):
        remove(workspace.path)
    assert not workspace.path.exists()


def test_list_says_so_when_there_is_no_workspace(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    assert main(["list"]) == 0
    assert capsys.readouterr().err == "there is no workspace: no run is at work, and none has failed\n"


def test_state_that_cannot_lie_where_it_is_said_is_refused_by_its_variable(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("BULKHEAD_VAR", "dvc.yaml/state")
    assert main(["open", "--run", "one"]) == os.EX_CONFIG
    assert f"BULKHEAD_VAR: {project / 'dvc.yaml/state'} is no directory" in capsys.readouterr().err
