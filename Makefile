# What a developer does, as targets. Each needs `make dev` once, and an environment that is active.

PYTHON ?= python

.PHONY: help dev test bench lint wheel-check

help:
	@echo "make dev          install for development: compile, with all extras and tools"
	@echo "make test         all tests; some: make test TESTS=tests/emcore"
	@echo "make bench        benchmarks on few rows, into build/benchmarks"
	@echo "make lint         ruff, cython-lint, codespell and mypy"
	@echo "make wheel-check  build, repair and test the wheel; all tests: make wheel-check FULL=--full"

dev:
	$(PYTHON) -m pip install --editable ".[test,lint]" pre-commit

TESTS ?=
test:
	$(PYTHON) -m pytest $(TESTS)

bench:
	$(PYTHON) benchmarks/full_run.py --quick --output build/benchmarks
	$(PYTHON) -m pytest benchmarks --benchmark-only

lint:
	ruff check .
	ruff format --check .
	cython-lint src/emcore
	codespell
	mypy

FULL ?=
wheel-check:
	$(PYTHON) tools/wheel_check.py $(FULL)
