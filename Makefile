# make demo: environment, then the main job on the built-in corpus. make test: environment, then all tests.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow faults check bench bench-quick bench-probe docs format clean

# the environment is made again when what it should hold changes
.venv/.made: pyproject.toml constraints.txt
	@echo "Making the environment in .venv"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@touch .venv/.made

demo: .venv/.made
	$(BIN)/lalia demo

test: .venv/.made
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not faults"

# long tests, and all of the products of which make test runs a selection
test-slow: .venv/.made
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

# what happens when training is killed, the disk is full, files are damaged, ...: docs/reliability.md
faults: .venv/.made
	$(BIN)/python -m pytest -n 2 tests/faults tests/test_run.py tests/training/test_loop.py \
	  -k "faults or one_seed or different_seeds or optimizer_once or partial_accumulation"

check: .venv/.made
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

# what runs cost beside Hugging Face's Trainer and beside one forward; docs/performance.md has the results
bench: .venv/.made
	$(BIN)/python -m benchmarks --out benchmarks.json

bench-quick: .venv/.made
	$(BIN)/python -m benchmarks --quick

# probes of 2,000 recordings with 25 depths of width 1024
bench-probe: .venv/.made
	$(BIN)/python -m benchmarks.probe_size

# the pages that are written from the code and from the results of its tests
docs: .venv/.made
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_encoders.py

format: .venv/.made
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache lalia-demo
