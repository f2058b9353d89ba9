# `make demo` and `make test` need nothing but Python 3.11 or newer; the environment is kept in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each worker takes whole files. WORKERS=0 runs all tests in one process.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-slow test-all docs check clean
.DEFAULT_GOAL := help

help:  ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed  ## Draw faces, search, rank, export the winner: about four minutes
	$(BIN)/gansweep demo

test: $(VENV)/.installed-dev  ## The tests that are not slow: eleven minutes on two cores
	$(PYTEST)

test-slow: $(VENV)/.installed-dev  ## The slow tests
	$(PYTEST) -m slow

test-all: $(VENV)/.installed-dev  ## All tests in one run
	$(PYTEST) -m ''

docs: $(VENV)/.installed-dev  ## The documentation as web pages, in docs/_build/html
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html

check: $(VENV)/.installed-dev docs  ## Lint, types, import order, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## Remove the environment and caches; sweeps stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
