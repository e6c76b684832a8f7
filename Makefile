# make demo: environment, then the main job on the built-in corpus. make test: environment, then all tests.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow faults fuzz check check-supply bench bench-quick bench-probe bench-scaling browser figures docs format clean

# the environment is made again when what it should hold changes
.venv/.made: pyproject.toml constraints.txt
	@echo "Making the environment in .venv"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@touch .venv/.made

demo: .venv/.made
	$(BIN)/lalia demo

test: .venv/.made browser
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not faults"

# a real browser for tests/browser, which are skipped without one; never stops the build
browser:
	@if command -v chromium >/dev/null 2>&1; then echo "Browser tests use $$(command -v chromium)"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "Installing chromium with apt-get for the browser tests"; \
	  { timeout 120 apt-get update -q && DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y -q --no-install-recommends chromium; } \
	    >/dev/null 2>&1 || echo "It could not be installed: the browser tests will be skipped"; \
	else echo "No chromium: the browser tests will be skipped (apt-get install chromium)"; fi

# long tests, and all of the products of which make test runs a selection
test-slow: .venv/.made
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

# what happens when training is killed, the disk is full, files are damaged, ...: docs/reliability.md
faults: .venv/.made
	$(BIN)/python -m pytest -n 2 tests/faults tests/test_run.py tests/training/test_loop.py \
	  -k "faults or one_seed or different_seeds or optimizer_once or partial_accumulation"

# damaged recordings, tables and settings: LALIA_FUZZ_SEED=... repeats the recordings of a run; docs/security.md
fuzz: .venv/.made
	LALIA_FUZZ=$${LALIA_FUZZ:-20000} $(BIN)/python -m pytest -s tests/fuzz

check: .venv/.made
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

# licences of all that lalia depends on, and what the package index knows of the installed versions
check-supply: .venv/.made
	$(BIN)/python docs/make_supply.py --check

# what runs cost beside Hugging Face's Trainer and beside one forward; docs/performance.md has the results
bench: .venv/.made
	$(BIN)/python -m benchmarks --out benchmarks.json

bench-quick: .venv/.made
	$(BIN)/python -m benchmarks --quick

# probes of 2,000 recordings with 25 depths of width 1024
bench-probe: .venv/.made
	$(BIN)/python -m benchmarks.probe_size

# what one recording costs here, and what a million would cost elsewhere; docs/scaling.md
bench-scaling: .venv/.made
	$(BIN)/python -m benchmarks.scaling

# the figures of the README
figures: .venv/.made
	$(BIN)/python docs/make_figures.py

# the pages that are written from the code and from the results of its tests
docs: .venv/.made
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_encoders.py
	$(BIN)/python docs/make_supply.py

format: .venv/.made
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache lalia-demo
