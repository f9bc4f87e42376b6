from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from harness import PROJECT
from pipelines.runs import graph

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # inside of DVC


def test_the_committed_graph_is_what_dvc_yaml_says() -> None:
    assert graph.is_current(PROJECT), "run `python -m pipelines.runs compile` and commit dags/graph.json"


def test_items_of_a_stage_are_folded_into_one(project: Path) -> None:
    stages = graph.compile_graph(project, open_ended=False)["stages"]
    assert set(stages) == {"collect", "validate", "evaluate", "bundle"}
    assert stages["validate"] == {"dag": "collect_and_validate", "upstream": ["collect"]}
    assert stages["evaluate"] == {"dag": "train_and_evaluate", "upstream": ["validate"]}


def test_what_runs_with_its_next_stage_has_no_task() -> None:
    stages = graph.compile_graph(PROJECT, open_ended=False)["stages"]
    assert "declare" not in stages
    assert stages["collect"] == {"dag": "collect_and_validate", "upstream": []}


def test_the_schedule_ends_with_the_last_month_unless_told_otherwise(project: Path) -> None:
    assert graph.compile_graph(project, open_ended=False)["months"] == {"first": "2013-01", "last": "2013-02"}
    assert graph.compile_graph(project, open_ended=True)["months"] == {"first": "2013-01", "last": None}


def test_is_current_notices_a_change_of_dvc_yaml(project: Path) -> None:
    assert not graph.is_current(project)
    (project / "dags").mkdir()
    graph.write(project, open_ended=True)
    assert graph.is_current(project)
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("deps: [report.txt]", "deps: [report.txt, data]"))
    assert not graph.is_current(project)


def test_a_stage_that_no_dag_would_run_is_refused(project: Path) -> None:
    path = project / "dvc.yaml"
    path.write_text(path.read_text() + "  lonely:\n    cmd: touch lonely.txt\n    outs: [lonely.txt]\n")
    with pytest.raises(ConfigurationError, match="lonely"):
        graph.compile_graph(project, open_ended=False)
