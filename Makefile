# Everything a developer, an evaluator or CI does here. `make` alone lists it.
# The environment is made from hash-pinned requirements when they changed, and only then.

BIN := .venv/bin
# What runs once more with every pool of connections led through PgBouncer; the long lives are not
# longer with it than without.
POOLED := tests/gates tests/ledger tests/metering tests/billing/test_inbox.py \
  tests/billing/test_worker.py tests/catalog/test_publisher.py tests/app/test_worker.py \
  --ignore-glob='*_machine.py' --ignore-glob='*_life*.py' --ignore-glob='*_model.py'

.DEFAULT_GOAL := help
.PHONY: help environment run test test-system check fmt bench requirements clean

help:  ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

environment:  ## Create or update .venv (every other target does this first)
	@sh scripts/environment

run: environment  ## Serve on 127.0.0.1:8000 with embedded engines and a demo catalog; Ctrl-C stops it
	@exec $(BIN)/headroom serve --dev --catalog examples/bookkeeper.toml

test: environment  ## Run the whole suite on throw-away engines (ARGS="tests/infra -k clock" for less)
	@$(BIN)/pytest -n auto $(ARGS)

test-system: environment  ## Test beside PgBouncer and Node, which it installs where they are missing
	@sh scripts/system
	@$(BIN)/pytest tests/system
	@$(BIN)/pytest -n auto --cluster tests/gates tests/metering tests/races tests/infra/test_redis.py
	@$(BIN)/pytest -n auto --pgbouncer $(POOLED)

check: environment  ## Lint, formatting, types, and the rooms' borders: exactly what CI runs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: environment  ## Format the code and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: environment  ## Measure speed and size on this machine (ARGS="requests growth", ARGS=--help)
	@$(BIN)/python -m bench $(ARGS)

requirements:  ## Lock the dependencies again, with hashes (needs uv; ARGS="--upgrade" for newer ones)
	@sh scripts/lock $(ARGS)

clean:  ## Remove the environment and every cache; no data
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
