# `make demo` and `make test` set up everything they need below .venv; nothing outside this folder is changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 1
KILLS ?= 20
# More than a small machine has cores: a third of what a test takes it waits, for programs, the disk or a clock.
WORKERS ?= 4
CLIENTS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/brain-daemon/clients
DATA ?= ../routing-data

MINUTES ?= 60
N ?= 100000
TARGET ?=

.PHONY: demo fuzz soak bench-start-up test test-clients test-deep lint types unit bench bench-routing bench-memory bench-peers crash-lab crash-points mutants git-matrix lowest lock clean

demo: $(VENV)/.installed
	$(BIN)/brain demo

# Types are looked at beside the first tests, which wait for programs and the disk a tenth of their time.
test: lint
	$(MAKE) --no-print-directory -j2 types unit

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developed
	$(BIN)/mypy

# Measuring costs a third of the processor: what kills, strikes, attacks and reads the pages aloud runs without.
UNMEASURED := tests/faults tests/git tests/hostile tests/docs

unit: $(VENV)/.developed
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(UNMEASURED)
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal $(UNMEASURED:%=--ignore=%)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=85
	$(BIN)/coverage report --fail-under=100 --include='brain_daemon/model/*,brain_daemon/policy/*'

# All tests with the full figures of the costly ones (tests/depth.py), such as a storm of 20,000 files: it takes many times as long.
test-deep: $(VENV)/.developed
	BRAIN_TEST_DEPTH=1000 $(BIN)/python -m pytest -n 2 --dist worksteal

# The real AI clients against servers on loopback. Pinned programs, 1.3 GB, are put into CLIENTS_CACHE once; npm does that.
test-clients: $(VENV)/.developed
	clients=$$($(BIN)/python tests/clients/install.py "$(CLIENTS_CACHE)") && \
	TEST_CLIENTS="$$clients" $(BIN)/python -m pytest tests/clients --durations=10

bench: $(VENV)/.developed
	$(BIN)/python benchmarks/drop_to_commit.py

# Other queues beside the daemon: benchmarks/peers.py says which, and which programs of the system they need.
bench-peers:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet -c constraints.txt . huey rq redis procrastinate 'psycopg[binary]' dirq
	.venv-peers/bin/python benchmarks/peers.py

# DATA is a folder with checkouts of the public tables; benchmarks/routing.py says which.
bench-routing: $(VENV)/.developed
	$(BIN)/python benchmarks/routing.py $(DATA)

bench-memory: $(VENV)/.developed
	$(BIN)/python benchmarks/memory.py

# A brain with 100,000 recorded and 10,000 pending tasks: how long it takes to begin, and to look.
bench-start-up: $(VENV)/.developed
	$(BIN)/python benchmarks/start_up.py

# A daemon at work for MINUTES: does it grow?
soak: $(VENV)/.developed
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

# N random changes for each reader of bytes from outside (TARGET: one of them); about a quarter of an hour for 100,000.
fuzz: $(VENV)/.developed
	$(BIN)/python tests/hostile/fuzz.py --number $(N) --seed $(SEED) $(if $(TARGET),--target $(TARGET))

crash-lab: $(VENV)/.developed
	$(BIN)/python tests/faults/kill_lab.py --kills $(KILLS) --seed $(SEED)

# Every operation of every scenario with every fault, double crashes and power loss: hours. POINTS=20 strikes twenty of each.
POINTS ?= all
crash-points: $(VENV)/.developed
	BRAIN_CRASH_LAB=$(POINTS) SEED=$(SEED) $(BIN)/python -m pytest tests/faults/test_crash_points.py -n 2 --dist worksteal -o timeout=0

# Faults put into the program one at a time; each must turn a test red.
mutants: $(VENV)/.developed
	$(BIN)/python tests/faults/mutants.py

# All states of a person's repository times all the daemon does in it; some two minutes on an idle machine.
git-matrix: $(VENV)/.developed
	$(BIN)/python tests/git/matrix.py

# The oldest releases that pyproject.toml promises, in a venv of their own.
lowest: lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet -c lowest.txt . 'pytest>=8.3' 'pytest-asyncio>=1.0' 'pytest-timeout>=2.3' hypothesis jsonschema
	.venv-lowest/bin/python -m pytest -q -p no:cacheprovider tests/model tests/policy tests/store

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet '.[dev,memory]'
	.venv-lock/bin/pip freeze --exclude brain-daemon > constraints.txt
	rm -rf .venv-lock

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.developed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,memory]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .venv-lowest .venv-lock build dist *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
