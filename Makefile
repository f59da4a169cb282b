# All one needs is Python 3.11 or later and make; the rest is fetched into .venv and the user's cache folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUILD := build

.DEFAULT_GOAL := help
.PHONY: pyz release help venv demo demo-down test check lint format generate expectations bench fuzz clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

venv: $(STAMP) ## the development environment

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name it with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@# dependency groups need pip 25.1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]' --group dev
	@touch $@

demo: $(STAMP) ## start an OpenSearch node, send the sample log through it, show what is found
	@$(BIN)/allocfail demo --format text

demo-down: $(STAMP) ## stop that node
	@$(BIN)/allocfail demo --down

test: lint check ## everything CI runs: format, lint, types, generated files, tests with real engines
	$(BIN)/pytest

lint: $(STAMP) ## formatting, lint, types, and which room imports which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

check: $(STAMP) ## fail where a generated file is stale
	$(BIN)/python -m allocfail.build --check

generate: $(STAMP) ## write the generated files
	$(BIN)/python -m allocfail.build

expectations: $(STAMP) ## write all that tests compare with anew, to be reviewed in the diff
	$(BIN)/python tests/expectations.py

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pyz: $(STAMP) ## build/allocfail.pyz: one file for hosts that only decode and ship, for any Python from 3.11 on
	@rm -rf $(BUILD)/pyz && mkdir -p $(BUILD)/pyz
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $(BUILD)/pyz .
	@# What is compiled runs on one Python alone; all of it is left out, and done without or asked for.
	@cd $(BUILD)/pyz && rm -rf bin stringzilla* stringzillas* hyperscan* zstandard* nh3* lunr* waitress* *.libs && find . -name '*.so' -delete
	@$(BIN)/shiv --quiet --reproducible --compressed --site-packages $(BUILD)/pyz --console-script allocfail \
		--output-file $(BUILD)/allocfail.pyz --python '/usr/bin/env python3' --no-deps . 2>/dev/null
	@rm -rf $(BUILD)/pyz
	@ls -l $(BUILD)/allocfail.pyz

release: $(STAMP) ## check, build twice, compare, and write dist; docs/releasing.md
	$(BIN)/python -m allocfail.build.release

bench: $(STAMP) ## measure, in ratios; SIZE=4 (GB) ROUNDS=5 DUMPS=20000 MEMORY=1 ENGINES=1
	$(BIN)/python bench $(if $(SIZE),--size $(SIZE)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(DUMPS),--dumps $(DUMPS)) \
		$(if $(MEMORY),--memory) $(if $(ENGINES),--engines)

fuzz: $(STAMP) ## minutes of hostile input
	$(BIN)/python -m pytest -q tests/fuzz --override-ini=python_files='*.py'

clean: ## remove what was made here, not the cache
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
