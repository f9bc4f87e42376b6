#!/usr/bin/env bash
# Airflow's provider for Celery allows any Celery 5, and a resolver takes 5.7; its executor imports what 5.7 no longer has, so
# `CeleryExecutor` cannot be loaded until Celery is held below 5.7.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check apache-airflow==3.3.2 apache-airflow-providers-celery==3.26.0 celery==5.7.0
export AIRFLOW_HOME="$directory/airflow" PATH="$directory/venv/bin:$PATH"
pip check
load() { python -c 'import importlib.metadata as m; from airflow.providers.celery.executors import celery_executor_utils; print("celery", m.version("celery"), "loads")' 2>&1; }
code=0; said=$(load) || code=$?
echo "celery 5.7.0: exit code $code, $(tail -n 1 <<< "$said")"
[ "$code" -ne 0 ] && grep --quiet "cannot import name 'retry' from 'celery.backends.database'" <<< "$said"
pip install --quiet --disable-pip-version-check 'celery==5.6.3'
load | tail -n 1
