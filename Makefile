# Bulkhead. `make up` sets everything up and runs the main job end to end; `make test` runs every check.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
UV := .venv/uv/bin/uv
ENVIRONMENTS := pipeline serving fleet orchestrator dev client
export UV_COMPILE_BYTECODE := 1
export UV_LINK_MODE := hardlink
export BENTOML_DO_NOT_TRACK := true

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# ---- environments: one hashed lock each; an environment is current when it holds a copy of its lock ----
$(UV):
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.13,<1'

.venv/%/.lock: requirements/%.txt | $(UV)
	@echo "environment $*"
	$(UV) venv --quiet --clear --python $(PYTHON) .venv/$*
	$(UV) pip install --quiet --require-hashes --python .venv/$* -r $<
	cp $< $@
.PRECIOUS: .venv/%/.lock

.venv/test/.lock: requirements/test.txt | $(UV)
	@echo "environment test"
	rm -rf .venv/test
	$(UV) pip install --quiet --require-hashes --target .venv/test -r $<
	cp $< $@

.PHONY: lock
lock: | $(UV)  ## resolve requirements/*.in again, with hashes
	for source in requirements/*.in; do
	  $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $$source -o $${source%.in}.txt
	done
