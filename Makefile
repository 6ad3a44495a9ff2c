# Everything a newcomer needs: `make demo` runs the main job, `make test` runs the tests. Both set up what they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check fuzz lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("ktx needs Python 3.11 or newer; this is %d.%d. Name another one: make PYTHON=python3.12 …" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: requirements/demo.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/demo.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## make a demo project in ./demo and run the main job on it
	$(BIN)/ktx demo demo

test: $(VENV)/.dev  ## run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: $(VENV)/.dev  ## lint, types, architecture, dependencies (seconds)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/pyright

N ?= 10000
ENGINE ?= duckdb
SEED ?= 1

fuzz: $(VENV)/.dev  ## compare compiled questions with the oracle: make fuzz N=10000 ENGINE=duckdb|sqlite|postgres|mysql SEED=1
	PYTHONPATH=src:tests $(BIN)/python -m oracle.fuzz --count $(N) --engine $(ENGINE) --seed $(SEED)

lock: $(BIN)/uv  ## renew requirements/*.lock from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --extra demo pyproject.toml -o requirements/demo.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --all-extras --group test --group check pyproject.toml -o requirements/dev.lock

clean:  ## remove the environment and the demo
	rm -rf $(VENV) demo
