# Every target makes its own environment in .venv, once, from pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench clean

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "commute needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: .venv/ready  ## search, verify and report a claim about a trained network
	$(BIN)/commute demo

test: .venv/ready  ## the whole test suite
	$(BIN)/python -m pytest -n 2

lint: .venv/ready  ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready  ## figures beside their bars
	$(BIN)/python -m benchmarks.imports
	$(BIN)/python -m benchmarks.causal
	$(BIN)/python -m benchmarks.claims
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.verdict
	$(BIN)/python -m benchmarks.proofs zoo sizes trainings boxes

clean:
	rm -rf .venv runs
