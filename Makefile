# SPDX-License-Identifier: EUPL-1.2
# './run' starts the demonstration city and './test' checks everything; this file holds the rest.

.DEFAULT_GOAL := help
.PHONY: help check static style types imports test bench acceptance fresh lock wheel clean

python := .venv/bin/python
suite := bookworm

help: ## list the targets
	@echo "./run   start the demonstration city"
	@echo "./test  set up everything, run the gate and every test"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: static ## the gate: style, types, import contracts, architecture tests
	$(python) -m pytest -q tests/architecture

static: style types imports ## the gate without its tests

style: .venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv
	.venv/bin/mypy

imports: .venv
	PYTHONPATH=.:hardware-sim .venv/bin/lint-imports --no-logo

test: ## same as ./test
	@./test

bench: .venv ## the benchmarks, as a table (ARGS=--json for JSON)
	$(python) -m cardservice bench all $(ARGS)

acceptance: .venv ## the fault tests at full size, about two hours; what they found goes into docs/acceptance.md (ARGS=...)
	$(python) scripts/acceptance.py $(ARGS)

fresh: ## the two commands on a really fresh machine (root, debootstrap; suite=trixie for Debian 13)
	scripts/fresh-machine.sh $(suite)

lock: .venv ## write requirements/*.txt again (ARGS=--upgrade for the newest versions)
	scripts/lock.sh $(ARGS)

wheel: .venv ## build the wheel into dist/
	.venv/bin/uv --system-certs build --wheel --no-build-isolation --python $(python) --out-dir dist

clean: ## remove what was built or measured; .venv and the city's state in var/ stay
	rm -rf dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: .venv
.venv:
	@scripts/environment.sh dev
