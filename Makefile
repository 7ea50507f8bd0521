# Everything a contributor types. Each target sets the checkout up first, which costs nothing when nothing has changed.
#
#   make demo DEMO_ARGS="steps=2000"      make test PYTEST_ARGS="tests/data -x"
#   make setup PYTHON=python3.12          make setup TORCH_SPEC="torch==2.13.0 --index-url URL"
#   make test WORKERS=0                   one process, in the order of the files

PY := .venv/bin/python
# A worker a core, each with one thread; nproc would take OMP_NUM_THREADS for the number of cores.
WORKERS ?= $(shell env -u OMP_NUM_THREADS nproc)
TESTS := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist worksteal
MARKS_SLOW := slow and not gpu

.PHONY: help setup demo test test-slow lint bench docs clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1: /p' Makefile

setup: ## make .venv with everything in it
	@scripts/setup.sh

demo: setup ## run every stage on one task (DEMO_ARGS="key=value ...")
	.venv/bin/worldrl demo $(DEMO_ARGS)

test: lint ## gates and quick tests (PYTEST_ARGS="...")
	$(TESTS) $(PYTEST_ARGS)

test-slow: setup ## the tests that take longer than seconds; having none is fine
	$(TESTS) -m "$(MARKS_SLOW)" $(PYTEST_ARGS) || [ $$? -eq 5 ]

lint: setup ## format, lint and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

bench: setup ## time every stage on this machine (BENCH_ARGS="key=value ...")
	.venv/bin/worldrl bench $(BENCH_ARGS)

docs: setup ## build the site in site/
	$(PY) -m mkdocs build --strict

clean: ## remove what builds and tests leave; .venv and runs/ stay
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find worldrl envs agents configs tests -name __pycache__ -type d -prune -exec rm -rf {} +
