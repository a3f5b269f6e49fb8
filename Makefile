# `make run` sets everything up and trades on the simulator; `make test` proves it; `make build` only builds.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DURATION ?= 40
PYTEST ?=
# Bytecode is kept: a run starts eight processes, and each would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run build test check lint types tidy bench instructions locks clean

help:            ## list the targets
	@grep -E '^[a-z]+: .*##|^[a-z]+:  ' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

run: build       ## the engine trades on the embedded simulator (DURATION=40 seconds)
	@$(BIN)/python -m kite_hft.engine --config config/demo.yaml --duration $(DURATION)

build:           ## virtual environment, locked packages, compiled modules
	@bash scripts/build.sh $(PYTHON) $(VENV) runtime

test:            ## build and run all tests (PYTEST=--durations=25 and the like: more words for pytest)
	@bash scripts/build.sh $(PYTHON) $(VENV) test
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST)

check: lint types tidy   ## all standing checks but the tests

lint:            ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types:           ## mypy, strict
	@$(BIN)/mypy

tidy:            ## the structure of the source itself
	@$(BIN)/python -m pytest tests/test_tidy.py

bench:           ## ours beside every rival, the whole table (half an hour; BENCH=--quick for a short look)
	@bash scripts/build.sh $(PYTHON) $(VENV) bench
	@$(BIN)/python benchmarks/run.py $(BENCH)

instructions:    ## instructions per tick of the hot code, against the committed figures (needs valgrind)
	@$(BIN)/python benchmarks/instructions/count.py

locks:           ## renew locks/ from pyproject.toml (needs uv)
	@bash scripts/lock.sh

clean:           ## what the build made
	@rm -rf build dist src/*.egg-info src/kite_hft/_*.so src/kite_hft/_*.pyi
