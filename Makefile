# Everything from a bare machine: needs make and Python 3.11 or newer with venv and pip, nothing else.

PYTHON ?= python3
BIN := .venv/bin
REAL := tests/real/node_modules
SUITE := tests/conformance/node_modules
UV := $(BIN)/uv --no-config --quiet
COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url

.PHONY: run test lint check bench bench-search shape provider conformance chaos-audit clean lock

# With .venv/bin on PATH, where node and the MCP servers of the example are.
run: .venv/ready $(REAL)/ready | nexus.toml
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec $(BIN)/nexus $(ARGS)

nexus.toml:
	cp nexus.example.toml $@

check: lint test

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python benchmarks/shape.py --check

test: .venv/ready $(REAL)/ready $(SUITE)/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

bench: .venv/ready $(REAL)/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks $(ARGS)

# Quality of search on the suites in DATA, a folder; its cost without one.
bench-search: .venv/ready
	$(BIN)/python -m benchmarks.search $(DATA) $(ARGS)

# An authorization server that lets everybody in, to try out OAuth with (docs/oauth.md).
provider: .venv/ready $(REAL)/ready
	@exec $(BIN)/node tests/real/provider.mjs 9000 http://127.0.0.1:8000 mcp convert

shape: .venv/ready
	$(BIN)/python benchmarks/shape.py

# Made anew as a whole, so that nothing of an older lock stays; with the pinned uv, which is fast, and no other.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# By the Node of a Python wheel, so that no other is needed or used; package scripts never run.
$(REAL)/ready: tests/real/package-lock.json .venv/ready
	$(BIN)/python tests/real/install.py
	@touch $@

deploy/nats/nats.conf: libs/cli/natsconf.py libs/common/grants.py libs/common/subjects.py .venv/ready
	$(BIN)/python -m libs.cli.natsconf > $@

# What compose.yaml asks for: one password per NATS user, and the key that sessions are sealed with.
.env:
	@umask 077 && { \
	  for role in EDGE ROUTER CONNECTOR INDEXER AUDITOR SIEM; do \
	    printf 'NATS_%s_PASSWORD=p%s\n' $$role "$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"; \
	  done; \
	  printf 'NEXUS_SEAL_KEYS=%s\n' "$$(head -c 32 /dev/urandom | base64)"; \
	} > $@.new && mv $@.new $@
	@echo "wrote $@, readable by you only"

docs/asyncapi.json: libs/common/facts.py libs/common/asyncapi.py .venv/ready
	$(BIN)/python -m libs.common.asyncapi > $@

$(SUITE)/ready: tests/conformance/package-lock.json .venv/ready
	$(BIN)/python tests/conformance/install.py
	@touch $@

conformance: .venv/ready $(SUITE)/ready
	$(BIN)/python -m tests.conformance $(ARGS)

lock: .venv/ready
	$(COMPILE) --upgrade --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --extra all --output-file requirements.runtime.lock \
		pyproject.toml deploy/servers.txt

# Ten thousand calls while everything is killed now and then: nothing may be missing in the audit trail.
SEED ?= 1
chaos-audit: .venv/ready
	$(BIN)/python -m tests.chaos --seed $(SEED) $(ARGS)

clean:
	rm -rf .venv $(REAL) $(SUITE) .mypy_cache .ruff_cache .import_linter_cache dist build
