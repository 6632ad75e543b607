# Everyday verbs; `make` alone lists them. Continuous integration calls the same ones.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3.14 || command -v python3)
BIN := .venv/bin
N ?= 200
REFRESHES ?= 300
SWITCHES ?= 100
DRAINS ?= 1000
ANSWERS ?= 200
SEED ?= 1
SECONDS ?= 3600
ROUNDS ?= 5
PROCESSES ?= 3
export PYTHONPATH := tests

.DEFAULT_GOAL := help
.PHONY: help demo test check format docs bench crash fuzz cures clean

help: ## list the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: .venv/demo ## set up and show the whole path on this machine: consent, token, login, capture, new mail
	@$(BIN)/python -m postroom.sandbox.demo

test: .venv/dev ## set up and run every test, real servers included (PROCESSES=3, each with servers of its own; they wait more than they work)
	@$(BIN)/python -m servers.install
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

check: .venv/dev ## format, lint, types, layers, generated pages
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	MYPYPATH=src:tests $(BIN)/mypy -p servers -p bench -p crash -p fuzz -p cures -m fakes -m maildrop -m submission -m outgoing -m asking
	$(BIN)/lint-imports
	$(BIN)/python -m docs.pages --check

format: .venv/dev ## put the code into form
	$(BIN)/ruff check --fix-only src tests
	$(BIN)/ruff format src tests

docs: .venv/dev ## write the generated pages of docs/
	$(BIN)/python -m docs.pages

bench: .venv/dev ## measure against peers on the same work (ROUNDS=5)
	@$(BIN)/python -m servers.install
	$(BIN)/python -m bench --rounds $(ROUNDS)

crash: .venv/dev ## kill and cut N times each, from SEED on, kill DRAINS times who sends (both go on where they stopped); also REFRESHES, SWITCHES, ANSWERS
	@$(BIN)/python -m servers.install
	$(BIN)/python -m crash --kills $(N) --cuts $(N) --seed $(SEED) --state .crash-$(SEED)-$(N).json
	$(BIN)/python -m crash.refresh --kills $(REFRESHES) --seed $(SEED)
	$(BIN)/python -m crash.drain --kills $(DRAINS) --seed $(SEED) --state .crash-drain-$(SEED)-$(DRAINS).json
	$(BIN)/python -m crash.answers --kills $(ANSWERS) --seed $(SEED)
	KILLS=100 CI=1 $(BIN)/python -m pytest -q tests/integration/test_listener_kills.py
	$(BIN)/python -m crash.switches --switches $(SWITCHES) --seed $(SEED)

fuzz: .venv/dev ## feed the codecs with noise for SECONDS
	$(BIN)/python -m fuzz --seconds $(SECONDS) --seed $(SEED)

cures: .venv/dev ## take each cure of a known pain out of a copy of the source: its tests must fail
	$(BIN)/python -m cures

clean: ## remove what the verbs made
	rm -rf .venv demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .crash-*.json

.venv/made:
	@sh tests/servers/venv.sh "$(PYTHON)"
	@touch $@

.venv/demo: .venv/made pyproject.toml
	@echo "installing Postroom and its sandbox into .venv ..."
	@$(BIN)/pip install --quiet --editable '.[sandbox]'
	@touch $@

.venv/dev: .venv/made pyproject.toml
	@echo "installing Postroom and its tools into .venv ..."
	@$(BIN)/pip install --quiet --editable '.[sandbox,dev]'
	@touch $@ .venv/demo
