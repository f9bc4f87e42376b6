from __future__ import annotations

import json
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
    ends, goes_on = (graph.compile_graph(project, open_ended=open_ended)["months"] for open_ended in (False, True))
    assert ends == {"first": "2013-01", "last": "2013-02", "catch_up_from": None}
    assert goes_on == ends | {"last": None}


def test_schedule_catches_up_when_told_from_which_month(project: Path) -> None:
    (project / "dags").mkdir()
    graph.write(project, open_ended=True, catch_up_from="2013-02")
    assert json.loads((project / graph.FILE_NAME).read_bytes())["months"]["catch_up_from"] == "2013-02"
    assert graph.is_current(project)
    for month, reason in (("2013-2", "'2013-2' is not a month"), ("2012-12", "no months through 2012-12")):
        with pytest.raises(ConfigurationError, match=reason):
            graph.write(project, open_ended=True, catch_up_from=month)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"months": 1}', '{"months": {}, "stages": {}}'])
def test_broken_graph_is_not_current_and_is_written_anew(project: Path, text: str) -> None:
    path = project / graph.FILE_NAME
    path.parent.mkdir()
    path.write_text(text)
    assert not graph.is_current(project)
    graph.write(project, open_ended=False)
    assert graph.is_current(project)


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
