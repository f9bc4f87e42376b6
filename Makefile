# Bulkhead. `make up` sets everything up and runs the main job end to end; `make test` sets up and runs every check.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
UV := .venv/uv/bin/uv
EXCLUDES := --excludes requirements/excludes
# GPU=1: the pipeline's environment with the full wheel of XGBoost (train.device: cuda), beside the other.
TRAINING := pipeline$(if $(GPU),-gpu)
PIPELINE := env PATH="$$PWD/.venv/$(TRAINING)/bin:$$PATH"
export UV_COMPILE_BYTECODE := 1
export UV_LINK_MODE := hardlink
export BENTOML_DO_NOT_TRACK := true
export OMP_WAIT_POLICY ?= PASSIVE
VAR := $(or $(BULKHEAD_VAR),$(CURDIR)/var)
export DVC_SITE_CACHE_DIR ?= $(VAR)/dvc-site
# DVC makes its site cache, and what leads to it, for everybody to write to; what is there it leaves as it is.
# Earlier versions let it; whoever can write to var can put something else in the place of what is in it.
PRIVATE = (umask 077; mkdir -p "$(VAR)" "$(DVC_SITE_CACHE_DIR)/repo"); find "$(VAR)" -maxdepth 3 -type d \( -perm -002 -o -perm -020 \) -exec chmod go-w {} +
# Exit code 65: something is lost, and named; dvc repro makes it anew.
VERIFY = bash -c '$(PIPELINE) python -m pipelines verify || [ $$? -eq 65 ]'
# Without the hints to turn on auto staging and to push: `up` pushes, and `git status` says what differs.
REPRO = bash -o pipefail -c '$(PIPELINE) PYTHONUNBUFFERED=1 dvc --wait-for-lock repro | sed -u "/^To enable auto staging/,/autostage/d; /^Use .dvc push/d"'
# A title, the command, and how long it took.
step = @timed() { local title="$$1" from=$$SECONDS; shift; echo; echo "── $$title"; "$$@"; echo "── $$title: $$((SECONDS - from)) s"; }; timed

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# ── the main job ──
.PHONY: up
up: | .venv/$(TRAINING)/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt  ## set up, run the pipeline, publish, start the fleet, ask it
	@$(PRIVATE)
	$(step) "integrity: what DVC keeps" $(VERIFY)
	$(step) "pipeline: dvc repro" $(REPRO)
	$(step) "backup: dvc push to the local remote" $(PIPELINE) dvc push --quiet
	$(step) "bundle store: publish" $(PIPELINE) python -m pipelines publish
	$(step) "fleet: up" bin/fleet up
	$(step) "fleet: deploy the candidate" bin/fleet deploy candidate
	$(step) "smoke: one request over HTTP, one over gRPC" .venv/serving/bin/python bin/smoke
	@$(PIPELINE) python -m pipelines summary

.PHONY: down
down:  ## end every process that `make up` and `make airflow` started
	@if [ -d .venv/fleet ]; then bin/fleet down; fi
	if [ -d .venv/fleet ]; then $(PYTHON) bin/airflow-local down; fi

# Without NAME or DATA nothing is set up.
.PHONY: example
example: | $(and $(NAME),$(DATA),.venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt)  ## NAME=… DATA=…: all that on a public table: examples/README.md
	@examples/run "$(NAME)" "$(DATA)"

.PHONY: repro
repro: | .venv/$(TRAINING)/installed.txt  ## the pipeline alone
	$(PRIVATE)
	$(VERIFY)
	$(REPRO)

# DATABASE=postgresql, EXECUTOR=celery: with servers of Debian's and the environment that they need.
.PHONY: airflow
airflow: | .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/$(if $(DATABASE)$(EXECUTOR),cluster,orchestrator)/installed.txt  ## Airflow with its UI on 127.0.0.1:8088
	@$(PYTHON) bin/airflow-local up $(if $(DATABASE),--database $(DATABASE)) $(if $(EXECUTOR),--executor $(EXECUTOR))

# ── checks ──
SLICE := var/test/slice
# Stages with an equal share of the CPU: with the least one, tests that run beside them starve them.
TEST := env PYTHONPATH=.venv/test:. BULKHEAD_TRAINING_WEIGHT=none BULKHEAD_TEST_SLICE="$$PWD/$(SLICE)" BULKHEAD_TEST_BUNDLE="$$PWD/$(SLICE)/build/bundle"
PYTEST := -m pytest --quiet
DOCS := .venv/docs/bin/python -m sphinx --quiet --fail-on-warning --doctree-dir var/docs/.doctrees

# Two at a time; the fleet's tests, under load of their own, run alone.
.PHONY: test
test: check docs  ## set up, and run all checks and tests
	$(MAKE) --jobs 2 --output-sync=target test-stages test-functional test-dags test-contract test-bentos
	$(MAKE) test-fleet

.PHONY: check
check: | .venv/dev/installed.txt .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/orchestrator/installed.txt .venv/client/installed.txt .venv/bench/installed.txt  ## ruff, mypy, import-linter
	$(MAKE) --jobs 2 --output-sync=target style $(patsubst %,types-%,$(TYPED))

.PHONY: style
style:
	.venv/dev/bin/ruff check --quiet .
	.venv/dev/bin/ruff format --quiet --check .
	.venv/dev/bin/lint-imports

# By the environment that the code runs in, the slowest first; each with a cache of its own, for another's packages lie elsewhere.
TYPED := pipeline bench serving orchestrator client fleet
TYPED_pipeline := contract pipelines docs/generate harness/*.py harness/load benchmarks/*.py benchmarks/fleet benchmarks/serving benchmarks/training benchmarks/peers/pipeline benchmarks/peers/litserve benchmarks/peers/mlserver benchmarks/peers/ray drills/__main__.py drills/score
TYPED_serving := contract bentos benchmarks/peers/serving drills/hostile/targets.py
TYPED_client := harness/client drills/hostile/fuzz.py drills/hostile/properties.py
TYPED_bench := benchmarks/peers/bench benchmarks/peers/naive
TYPED_fleet := fleet airflow_local benchmarks/peers/fleet
TYPED_orchestrator := dags
types-orchestrator: export MYPYPATH := dags:dags/plugins

types-%:
	.venv/dev/bin/mypy --cache-dir .mypy_cache/$* --python-executable .venv/$*/bin/python $(TYPED_$*)

.PHONY: test-stages
test-stages: | .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/client/installed.txt .venv/bench/installed.txt .venv/servers/installed.txt .venv/test/installed.txt
	$(TEST) .venv/pipeline/bin/python $(PYTEST) tests/structure tests/pipelines tests/benchmarks

.PHONY: test-functional
test-functional: slice | .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/orchestrator/installed.txt .venv/client/installed.txt .venv/servers/installed.txt .venv/test/installed.txt
	$(TEST) .venv/pipeline/bin/python $(PYTEST) tests/functional

# A real bundle, made by the real pipeline from two real months.
.PHONY: slice
slice: | .venv/pipeline/installed.txt
	$(PIPELINE) python -m harness.slice $(SLICE)

.PHONY: test-contract
test-contract: slice | .venv/serving/installed.txt .venv/pipeline/installed.txt .venv/servers/installed.txt .venv/test/installed.txt
	$(TEST) .venv/serving/bin/python $(PYTEST) tests/contract
	$(TEST) .venv/pipeline/bin/python $(PYTEST) tests/contract

.PHONY: test-bentos
test-bentos: slice | .venv/serving/installed.txt .venv/client/installed.txt .venv/fleet/installed.txt .venv/test/installed.txt .venv/fuzz/installed.txt .venv/generators/installed.txt
	$(TEST) .venv/serving/bin/python $(PYTEST) tests/bentos

.PHONY: test-fleet
test-fleet: slice | .venv/fleet/installed.txt .venv/serving/installed.txt .venv/client/installed.txt .venv/servers/installed.txt .venv/kubernetes/installed.txt .venv/test/installed.txt
	$(TEST) .venv/fleet/bin/python $(PYTEST) tests/fleet
	$(TEST) .venv/kubernetes/bin/python $(PYTEST) tests/fleet/kubernetes

.PHONY: test-dags
test-dags: slice | .venv/orchestrator/installed.txt .venv/cluster/installed.txt .venv/servers/installed.txt .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/client/installed.txt .venv/test/installed.txt
	$(TEST) .venv/orchestrator/bin/python $(PYTEST) tests/dags

.PHONY: test-chain
test-chain: slice | .venv/orchestrator/installed.txt .venv/cluster/installed.txt .venv/servers/installed.txt .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/client/installed.txt .venv/test/installed.txt  ## a month goes live through PostgreSQL, Celery and two checkouts that share a bucket; takes minutes
	$(TEST) BULKHEAD_TEST_CHAIN=1 .venv/orchestrator/bin/python $(PYTEST) tests/dags/local/test_chain.py

.PHONY: bench
bench: | .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/orchestrator/installed.txt .venv/client/installed.txt .venv/bench/installed.txt .venv/naive/installed.txt .venv/mlserver/installed.txt .venv/litserve/installed.txt .venv/ray/installed.txt  ## figures with their peers, in one run
	$(PIPELINE) python -m benchmarks

.PHONY: docs
docs: | .venv/docs/installed.txt .venv/pipeline/installed.txt .venv/fleet/installed.txt  ## the documentation as a site: var/docs/index.html
	$(PIPELINE) python -m docs.generate
	$(DOCS) docs var/docs
	@echo "var/docs/index.html"

.PHONY: drills
drills: | .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/client/installed.txt .venv/fuzz/installed.txt .venv/test/installed.txt  ## faults injected for real: hostile, slow and greedy callers, processes that die and hang
	$(PIPELINE) python -m drills

.PHONY: score
score: slice | .venv/pipeline/installed.txt .venv/serving/installed.txt .venv/fleet/installed.txt .venv/orchestrator/installed.txt .venv/client/installed.txt .venv/test/installed.txt  ## the ML Test Score: 28 tests, each decided by a check that runs
	@$(PIPELINE) python -m drills.score

# ── environments: one hashed lock each; made under another name first, so that what runs in one never meets half of it, and one that cannot be had leaves the old ──
# Before anything is made: whether this Python and this directory will do.
.PHONY: place
place:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m contract.environment.places

$(UV): | place
	@echo "── uv"
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.13,<1'

.venv/%/installed.txt: requirements/%.txt | $(UV)
	@echo "── environment $*: $$(grep -c == $<) packages"
	new=.venv/.$*.new old=.venv/.$*.old
	rm -rf $$new $$old
	$(UV) venv --quiet --relocatable --python $(PYTHON) $$new
	$(UV) pip install --quiet --require-hashes $(EXCLUDES) --python $$new -r $<
	if [ $* = serving ]; then $(PYTHON) -m contract.environment.pruning $$new; fi
	rm -f $$new/.lock  # uv leaves it for everybody to write to
	cp $< $$new/installed.txt
	if [ -d .venv/$* ]; then mv .venv/$* $$old; fi
	mv $$new .venv/$*
	rm -rf $$old
.PRECIOUS: .venv/%/installed.txt
.venv/serving/installed.txt: contract/environment/pruning.py

# Beside each environment instead of in it: what is tested, fuzzed and called runs in the very environments that production uses.
.venv/test/installed.txt .venv/fuzz/installed.txt: .venv/%/installed.txt: requirements/%.txt | $(UV)
	@echo "── environment $*: $$(grep -c == $<) packages"
	rm -rf .venv/$*
	$(UV) pip install --quiet --require-hashes --python $(PYTHON) --target .venv/$* -r $<
	cp $< $@

.PHONY: lock
lock: | $(UV)  ## resolve requirements/*.in again, with hashes
	for source in requirements/*.in; do
	  name=$${source%.in}
	  $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $(EXCLUDES) $$(ls $$name.excludes 2>/dev/null | sed 's/^/--excludes /') $$source -o $$name.txt
	done

.PHONY: clean
clean: down  ## end everything, and delete all that was made, published bundles too, but not the environments
	for made in store var; do if [ -d $$made ]; then chmod -R u+w $$made; fi; done
	rm -rf var build data models reports dvc_plots store .dvc/cache .dvc/tmp
