# make setup | demo | test | test-fast | durations | lint | bench | picture. Each sets up what it needs in .venv on its
# first run.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
TEST_ARGS ?=
TEST_PROCESSES ?= 2

.PHONY: setup demo test test-fast durations lint bench picture

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	python=""; \
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.10; do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "setup: no Python >= 3.10 found: apt-get install python3 python3-venv" >&2; exit 2; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "setup: $$python cannot make a virtual environment: apt-get install python3-venv" >&2; exit 2; \
	fi; \
	$$python -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/spr demo --out demo-output --then $(if $(HEADLESS),pictures,explore)

# The files of tests that take longest come first, so that the processes end together.
PYTEST := PYTHONPATH=tools OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p fast_tests \
  --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test: $(STAMP)
	$(PYTEST) $(TEST_ARGS)

# For daily work: without whole programs, Slicer, browser, benchmarks, and what is listed as long.
test-fast: $(STAMP)
	@$(PYTEST) -q --fast -m "not slow and not slicer and not gpu" \
	  Testing/architecture Testing/unit Testing/laws Testing/oracles Testing/inputs $(TEST_ARGS)

durations: $(STAMP)
	$(PYTEST) -q --write-durations $(TEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q Testing/architecture

bench: $(STAMP)
	$(BIN)/python -m pytest -s -o python_files='bench_*.py' benchmarks

picture: $(STAMP)
	$(BIN)/python tools/structure.py --picture docs/images/structure.png
