# make run    a three-node cluster on loopback, demo page at http://127.0.0.1:8080/
# make test   lint and all tests
# Both make .venv first; nothing else is needed than make and Python 3.11 or newer.

PYTHON ?= python3
NODES ?= 3
PYTEST_ARGS ?=
# Files of tests that run side by side: most wait for clocks and sockets, not for a processor.
TEST_WORKERS ?= 3

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install -c requirements.lock

# Folders of tests that drive npm packages; each has its own lock file.
NPM_LOCKS := $(wildcard tests/clients/package-lock.json tests/browser/package-lock.json)
NPM_STAMPS := $(if $(shell command -v npm),$(NPM_LOCKS:package-lock.json=node_modules/.installed))

.PHONY: run test coverage unit fuzz soak rolling failover partitions ring-rounds sim-ring soak-ring soak-sim form-ring dashboards lint fmt lock clean drill console-hour
.DEFAULT_GOAL := run

run: $(VENV)/.run
	@exec $(BIN)/cometring cluster --nodes $(NODES)

test: lint $(NPM_STAMPS)
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

# What of the code the tests run, line by line; in one process, so it takes longer.
coverage: lint $(NPM_STAMPS)
	@$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

# What needs no cluster, browser or npm: seconds, for the edit loop.
unit: $(VENV)/.dev
	@$(BIN)/python -m pytest -q tests/unit $(PYTEST_ARGS)

# Garbage on every port of running nodes for some minutes; FUZZ_SEED=n repeats a run.
FUZZ_SECONDS ?= 300
FUZZ_SEED ?= 0
fuzz: $(VENV)/.dev
	@COMETRING_FUZZ_SECONDS=$(FUZZ_SECONDS) COMETRING_FUZZ_SEED=$(FUZZ_SEED) \
		$(BIN)/python -m pytest -s tests/cluster/test_fuzz_ports.py --timeout $$(($(FUZZ_SECONDS) * 2 + 120))

# Nine real nodes killed, hung and restarted round after round, five cut off: how soon each agreed again.
RING_ROUNDS ?= 30
RING_SEED ?= 0
ring-rounds: $(VENV)/.dev
	@COMETRING_RING_ROUNDS=$(RING_ROUNDS) COMETRING_RING_SEED=$(RING_SEED) \
		$(BIN)/python -m pytest -s tests/cluster/test_ring_rounds.py tests/cluster/test_ring_networks.py --timeout $$(($(RING_ROUNDS) * 30 + 120))

# Grafana's JSON from ops/dashboards.
dashboards: $(VENV)/.dev
	@$(BIN)/python -m ops.dashboards

# The ring under virtual time, at 10 to 10,000 nodes: figures to docs/ring-figures.md. An hour.
SIM_ARGS ?= --out build/sim-ring.json
sim-ring: $(VENV)/.dev
	@PYTHONPATH=.:tests/support $(BIN)/python tests/support/sim_ring.py $(SIM_ARGS)

# Ten thousand random histories of a ring; a failing one names its seed. Some ten minutes.
HISTORIES ?= 10000
FIRST_HISTORY ?= 0
soak-ring: $(VENV)/.dev
	@COMETRING_HISTORIES=$(HISTORIES) COMETRING_FIRST_HISTORY=$(FIRST_HISTORY) \
		$(BIN)/python -m pytest -q tests/simulation/test_ring_histories.py

# Ten thousand histories of logs and sessions in which everything breaks, on all cores; failing seeds are named.
soak-sim: $(VENV)/.dev
	@PYTHONPATH=.:tests/support $(BIN)/python tests/support/soak_sim.py \
		--first $(FIRST_HISTORY) --histories $(HISTORIES)

# Five processes behind one seed name, a hundred times, each with a full stop. Half an hour.
ROUNDS ?= 100
form-ring: $(VENV)/.dev
	@COMETRING_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -s tests/cluster/test_seed_name.py

# Break a ring on purpose, and see that the alarms work: about twenty minutes. DRILL=kill does one step.
DRILL ?=
drill: $(VENV)/.dev
	@PYTHON=$(BIN)/python ops/drill $(DRILL)

# The console of a real ring, open in Chromium for an hour: what page and nodes hold, each minute.
CONSOLE_MINUTES ?= 60
console-hour: $(VENV)/.dev $(NPM_STAMPS)
	@COMETRING_CONSOLE_MINUTES=$(CONSOLE_MINUTES) $(BIN)/python -m pytest -s -m "" tests/soak/test_console_hour.py

# What is promised, on real processes. COMETRING_SOAK_SEED=n repeats a run.
soak: $(VENV)/.dev $(NPM_STAMPS)
	@COMETRING_SOAK_SECONDS=$${COMETRING_SOAK_SECONDS:-300} COMETRING_SOAK_CLIENTS=600 COMETRING_SOAK_RATE=500 \
		$(BIN)/python -m pytest -s -m "" --timeout 1200 tests/soak/test_survival.py
rolling: $(VENV)/.dev $(NPM_STAMPS)
	@COMETRING_ROLLING_CLIENTS=600 COMETRING_ROLLING_RATE=500 \
		$(BIN)/python -m pytest -s -m "" --timeout 1200 tests/soak/test_rolling.py
failover: $(VENV)/.dev
	@COMETRING_FAILOVER_KILLS=100 $(BIN)/python -m pytest -s -m "" --timeout 3600 tests/soak/test_failover.py
partitions: $(VENV)/.dev
	@$(BIN)/python -m pytest -s -m "" --timeout 1200 tests/soak/test_partition.py tests/soak/test_copies.py

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@git ls-files '*.py' 2>/dev/null | xargs -r wc -l | \
		awk '$$1 > 350 && $$2 != "total" {print $$2 ": " $$1 " lines; does it still tell one story?"}'

fmt: $(VENV)/.dev
	@$(BIN)/ruff check --fix-only --exit-zero .
	@$(BIN)/ruff format .

lock: $(VENV)/.dev
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install uv
	@header=$$(head -n 1 requirements.lock); \
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra loadtest --extra ops --universal --upgrade \
		--python-version 3.11 --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --quiet --output-file requirements.lock >/dev/null && \
	printf '%s\n' "$$header" | cat - requirements.lock > requirements.lock.new && \
	mv requirements.lock.new requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		.coverage htmlcov build dist *.egg-info tests/clients/node_modules tests/browser/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- what the targets above stand on; a stamp says that it is done -------------------

$(VENV)/.made:
	@PYTHON='$(PYTHON)' ./scripts/make-venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml requirements.lock
	@echo 'installing cometring into $(VENV) …'
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml requirements.lock
	@echo 'installing cometring and what its tests need into $(VENV) …'
	@$(PIP) --editable '.[dev,loadtest,ops]'
	@touch $@ $(VENV)/.run

%/node_modules/.installed: %/package-lock.json %/package.json
	@echo 'installing the npm packages of $* …'
	@cd $* && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
