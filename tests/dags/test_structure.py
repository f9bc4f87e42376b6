"""The DAGs are what dvc.yaml says, and cheap to parse."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import code_blocks
from harness import PROJECT

DAGS = PROJECT / "dags"
GRAPH = json.loads((DAGS / "graph.json").read_bytes())["stages"]
RUN = "{{ dag.dag_id }}.{{ run_id }}"
FORM = ["{{ '--force' if params.force else '--no-force' }}", "{{ '--dry-run' if params.dry_run else '--no-dry-run' }}"]
IDS = {"collect_and_validate", "train_and_evaluate", "bundle_and_deploy", "monitor"}
BY_HAND = {"batch_predict"}
BATCH_SCORING = "docs/how-to/batch-scoring.md"
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # inside of Airflow
HEAVY = {
    "pandas",
    "polars",
    "numpy",
    "sklearn",
    "xgboost",
    "dvc",
    "great_expectations",
    "bentoml",
    "contract",
    "pipelines",
}


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    from airflow import settings
    from airflow.dag_processing.dagbag import BundleDagBag

    settings.prepare_syspath_for_config_and_plugins()  # as Airflow's own commands do
    bag = BundleDagBag(str(DAGS), bundle_path=DAGS, bundle_name="dags")
    assert bag.import_errors == {}
    return dict(bag.dags)


def upstream_of(stage: str) -> set[str]:
    """The stage with all that it needs, as dvc.yaml says; `declare` has no place in the compiled graph."""
    return {stage}.union(*(upstream_of(name) for name in GRAPH[stage]["upstream"]))


def stages_of(dag: Any) -> set[str]:
    """The stages that a run of the DAG brings up to date."""
    return set().union(*(upstream_of(name) for name in set(dag.task_ids) & set(GRAPH)))


def stored(timetable: Any) -> Any:
    """The timetable as the scheduler reads it back from the database."""
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    return decode_timetable(encode_timetable(timetable))


def test_the_five_dags_are_there(dags: dict[str, Any]) -> None:
    assert set(dags) == IDS | BY_HAND


def test_graph_is_that_of_dvc_yaml() -> None:
    """By an own reading of dvc.yaml: a stage needs another if a dependency lies in, or contains, one of its outputs."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    bodies = {name: stage.get("do", stage) for name, stage in stages.items()}
    outputs = {
        name: [_path(out) for key in ("outs", "metrics") for out in body.get(key, [])] for name, body in bodies.items()
    }
    for name in GRAPH:
        needed = {
            other
            for other, paths in outputs.items()
            for path in paths
            for dependency in bodies[name].get("deps", [])
            if other != name and (f"{path}/".startswith(f"{dependency}/") or f"{dependency}/".startswith(f"{path}/"))
        }
        assert set(GRAPH[name]["upstream"]) == needed - {"declare"}, name
    assert set(GRAPH) == set(stages) - {"declare"}


def _path(output: Any) -> str:
    return str(output if isinstance(output, str) else next(iter(output))).replace("${item}", "item")


def test_every_stage_is_run_by_the_dag_that_the_graph_names(dags: dict[str, Any]) -> None:
    for name, stage in GRAPH.items():
        assert name in stages_of(dags[stage["dag"]])


def test_training_stands_alone_with_all_that_it_needs(dags: dict[str, Any]) -> None:
    assert stages_of(dags["train_and_evaluate"]) == set(GRAPH) - {"bundle"}


@pytest.mark.parametrize("dag_id", sorted(IDS))
def test_one_task_runs_all_stages_of_a_dag_as_dvc_yaml_wires_them(dags: dict[str, Any], dag_id: str) -> None:
    (name,) = set(dags[dag_id].task_ids) & set(GRAPH)
    command = dags[dag_id].get_task(name).command
    assert command[command.index("pipelines.runs") + 1 :] == ["repro", "--run", RUN, name, *FORM]
    assert dags[dag_id].get_task("open").downstream_task_ids >= {name}


@pytest.mark.parametrize("dag_id", sorted(IDS))
def test_every_task_works_in_a_workspace_that_is_opened_first_and_closed_last(
    dags: dict[str, Any], dag_id: str
) -> None:
    dag = dags[dag_id]
    assert dag.get_task("open").is_setup
    assert dag.get_task("close").is_teardown
    others = set(dag.task_ids) - {"open", "close"}
    assert others <= dag.get_task("open").get_flat_relative_ids(upstream=False)
    assert others <= dag.get_task("close").get_flat_relative_ids(upstream=True)


def test_who_tells_whom(dags: dict[str, Any]) -> None:
    outlets = {dag_id: [outlet.name for task in dag.tasks for outlet in task.outlets] for dag_id, dag in dags.items()}
    assert outlets.pop("batch_predict") == []
    assert outlets == {
        "collect_and_validate": ["validated_month"],
        "train_and_evaluate": ["approved_model"],
        "bundle_and_deploy": [],
        "monitor": [],
    }
    listens = {
        dag_id: [key.name for key, _ in stored(dag.timetable).asset_condition.iter_assets()]
        for dag_id, dag in dags.items()
        if dag_id not in {"collect_and_validate", *BY_HAND}
    }
    assert listens == {
        "train_and_evaluate": ["validated_month"],
        "bundle_and_deploy": ["approved_model"],
        "monitor": ["validated_month"],
    }


def test_each_asset_has_one_producer(dags: dict[str, Any]) -> None:
    """Two producers of one partition key block each other in Airflow 3.3: https://github.com/apache/airflow/issues/71070."""
    produced = [outlet.name for dag in dags.values() for task in dag.tasks for outlet in task.outlets]
    assert len(produced) == len(set(produced))
    assert set(produced) == {asset.name for asset in _assets(dags)}


def _assets(dags: dict[str, Any]) -> set[Any]:
    conditions = (
        stored(dag.timetable).asset_condition for dag in dags.values() if dag.dag_id != "collect_and_validate"
    )
    return {key for condition in conditions for key, _ in condition.iter_assets()}


def parts(directory: Path, graph: str | None) -> Any:
    """The module `pipeline_tasks` beside a compiled graph of this text."""
    shutil.copy(DAGS / "pipeline_tasks.py", directory)
    if graph is not None:
        (directory / "graph.json").write_text(graph)
    spec = importlib.util.spec_from_file_location("parts", directory / "pipeline_tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"months": {"first": null}, "stages": {}}'])
def test_import_error_says_what_to_do_when_the_compiled_graph_is_broken(tmp_path: Path, text: str | None) -> None:
    with pytest.raises(
        Exception, match=r"graph.json is not a compiled graph .* write it anew in .*-m pipelines.runs compile"
    ):
        parts(tmp_path, text)


def test_months_are_caught_up_with_when_the_graph_names_the_first(tmp_path: Path) -> None:
    graph = json.loads((DAGS / "graph.json").read_bytes())
    graph["months"]["catch_up_from"] = "2013-05"
    common = parts(tmp_path, json.dumps(graph)).COMMON
    assert (common["catchup"], f"{common['start_date']:%Y-%m-%d}") == (True, "2013-05-02")


def test_models_are_trained_and_deployed_one_at_a_time_and_nothing_catches_up(dags: dict[str, Any]) -> None:
    assert dags["train_and_evaluate"].max_active_runs == 1
    assert dags["bundle_and_deploy"].max_active_runs == 1
    assert not any(dag.catchup for dag in dags.values())
    assert all(dag.end_date is None for dag in dags.values())  # it would stop runs by hand too


def test_every_dag_and_task_says_what_it_is_for(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert len(dag.tags) > 1, dag_id
        assert "\n" not in dag.description
        assert "**After a failure**" in dag.doc_md
        for task in dag.tasks:
            assert task.owner == "bulkhead"
            assert task.doc_md, task.task_id


@pytest.mark.parametrize("dag_id", sorted(IDS - {"batch_predict"}))
def test_form_of_a_run_by_hand_is_harmless_by_default(dags: dict[str, Any], dag_id: str) -> None:
    params = dags[dag_id].params
    assert [params["through"], params["force"], params["dry_run"]] == [None, False, False]


def test_dry_run_leaves_out_what_changes_more_than_its_workspace(dags: dict[str, Any]) -> None:
    tasks = {task.task_id: task for dag in dags.values() for task in dag.tasks}
    assert {name for name, task in tasks.items() if getattr(task, "changes", False)} == {"record", "publish", "monitor"}
    # What follows a skipped task is skipped too.
    assert "publish" in tasks["deploy"].upstream_task_ids


def test_person_is_asked_only_if_that_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag

    def upstream_of_deploy(hours: str) -> set[str]:
        monkeypatch.setenv("BULKHEAD_APPROVAL_HOURS", hours)
        bag = BundleDagBag(str(DAGS / "bundle_and_deploy.py"), bundle_path=DAGS, bundle_name="dags")
        assert bag.import_errors == {}
        return set(bag.dags["bundle_and_deploy"].get_task("deploy").upstream_task_ids)

    assert upstream_of_deploy("") == {"publish"}
    assert upstream_of_deploy("24") == {"approve"}


def test_deployment_breaks_no_callers_unless_the_run_says_so(dags: dict[str, Any]) -> None:
    from jinja2 import Template

    dag = dags["bundle_and_deploy"]
    (flag,) = (part for part in dag.get_task("deploy").command if "breaking" in part)
    assert dag.params["breaking"] is False
    assert [Template(flag).render(params={"breaking": said}) for said in (False, True)] == [
        "--no-breaking",
        "--breaking",
    ]


def test_deployment_waits_for_the_judge_that_the_run_asks_for(dags: dict[str, Any]) -> None:
    from jinja2 import Template

    dag = dags["bundle_and_deploy"]
    assert dag.params["canary"] == "auto"
    run = {"start_date": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)}
    said = {
        chosen: [
            Template(part).render(params={"canary": chosen}, dag_run=run) for part in dag.get_task("deploy").command[4:]
        ]
        for chosen in ("auto", "always", "never")
    }
    rest = ["--since=2026-01-02T03:04:00+00:00", "--json"]
    assert said == {
        "auto": ["--wait", "--canary=if-traffic", *rest],
        "always": ["--wait", "--canary=auto", *rest],
        "never": ["--wait", "--canary=none", *rest],
    }


def test_only_a_worker_beside_the_fleet_deploys(dags: dict[str, Any]) -> None:
    queues = {task.task_id: task.queue for dag in dags.values() for task in dag.tasks}
    assert {name for name, queue in queues.items() if queue == "fleet"} == {"deploy"}


def test_a_table_is_scored_as_the_form_says(dags: dict[str, Any]) -> None:
    from jinja2 import Template

    dag = dags["batch_predict"]
    assert not stored(dag.timetable).can_be_scheduled
    given = {**dag.params.dump(), "table": "a b.parquet", "out": "-out.csv", "keep": "id", "overwrite": True}
    command = [Template(part).render(params=given) for part in dag.get_task("predict").command]
    assert command[1:] == [
        "-m", "pipelines", "predict", "--json", "--bundle=live", "--keep=id", "--overwrite", "--", "a b.parquet", "-out.csv",
    ]  # fmt: skip


def test_page_about_batch_scoring_triggers_and_schedules_it(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = shlex.split(code_blocks.block(BATCH_SCORING, "dags trigger"))
    assert given[:4] == ["bin/airflow-local", "cli", "dags", "trigger"]
    params = deepcopy(dags[given[4]].params)
    params.update(json.loads(given[6]))
    params.validate()
    monkeypatch.syspath_prepend(str(DAGS))
    made: dict[str, Any] = {}
    exec(code_blocks.block(BATCH_SCORING, "DAG(", "python"), made)
    dag = next(value for value in made.values() if getattr(value, "dag_id", "") == "score_customers")
    assert dag.get_task("predict").command[-3:] == ["--", "/data/customers/{{ ds }}", "/data/scores/{{ ds }}.parquet"]


def test_parsing_imports_little_beyond_the_sdk_of_airflow() -> None:
    """Counted and not timed: `python -m benchmarks airflow` has the seconds."""
    program = f"""
import json, sys
sys.path[:0] = [{str(DAGS)!r}, {str(DAGS / "plugins")!r}]
from airflow.sdk import DAG, Asset, BaseOperator, Param, PartitionedAssetTimetable, chain
before = set(sys.modules)
for name in {sorted(path.stem for path in DAGS.glob("*.py"))!r}:
    __import__(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name.split(".")[0] for name in found} & HEAVY == set()
    assert len(found) < 150, found
