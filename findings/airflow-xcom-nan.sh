#!/usr/bin/env bash
# Airflow 3.3: a task that returns NaN or Infinity, alone or inside a dictionary, does its work and then fails: the SDK sends results as JSON without
# such values ("Out of range float values are not JSON compliant"). Null, or the word NaN as Python's own `json` writes it, is what one expects of
# a result that is stored as JSON. The AUC of a month with one class is NaN, so a task fails on the month that should only be told of. Return
# None instead. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check apache-airflow==3.3.2
mkdir "$work/dags"
export AIRFLOW_HOME="$work/airflow" AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER="$work/dags" PATH="$work/venv/bin:$PATH"
export DONE="$work/done"
cat > "$work/dags/metrics.py" <<'PYTHON'
import os

from airflow.sdk import dag, task


@dag(schedule=None)
def metrics():
    @task
    def measure(auc):
        with open(os.environ["DONE"], "a") as file:
            print("measured", auc, file=file)
        return {"auc": float(auc)}

    measure.override(task_id="number")("0.75")
    measure.override(task_id="nan")("nan")


tried = metrics()

if __name__ == "__main__":
    run = tried.test()
    print("STATES", {each.task_id: str(each.state) for each in run.get_task_instances()})
PYTHON
airflow db migrate > "$work/migrated" 2>&1
said=$(python "$work/dags/metrics.py" 2>&1)
states=$(grep --only-matching "STATES.*" <<< "$said"); error=$(grep --only-matching "ValueError: .*" <<< "$said" | tail -n 1)
echo "airflow $(airflow version 2> /dev/null | tail -n 1); $(paste --serial --delimiters ',' "$DONE")"
printf '%s\n' "$states" "$error"
[ "$(sort "$DONE" | paste --serial --delimiters ',')" = "measured 0.75,measured nan" ]
[[ "$states" == *"'nan': 'failed'"* && "$states" == *"'number': 'success'"* ]]
[ "$error" = "ValueError: Out of range float values are not JSON compliant" ]
