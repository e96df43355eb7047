# `make run` and `make test` are all a newcomer needs; both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
export TOKENIZERS_PARALLELISM := false

.PHONY: setup run test lint types clean help

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

setup: $(STAMP)  ## create .venv and install; quick when nothing changed

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

run: setup  ## the whole of ZPPO at scale nano on a CPU, then its table
	$(BIN)/python flows/zppo_flow.py run
	@$(BIN)/python -m eval.tables summary

test: setup lint types  ## lint, types and tests
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

clean:  ## remove what runs and tests leave behind (not .venv)
	rm -rf runs results .metaflow .pytest_cache .mypy_cache .ruff_cache .hypothesis
