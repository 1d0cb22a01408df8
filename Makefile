# HookHub's targets. All of them work on a machine with Python 3.11, git and make; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?=
# Two test processes a core: half of them wait for servers and workers of their own.
JOBS ?= 4
# Which packages `make lock` brings to their newest versions; "all" for all, none named for none.
UPGRADE ?=
# Which benches `make bench` runs; none named means all.
BENCHES ?=
# Which scenarios `make chaos` runs, and with which seed; none named means all, and a seed of its own.
SCENARIOS ?=
# How many examples `make fuzz` makes for each operation; it takes the seed too.
EXAMPLES ?=
SEED ?=

VENV := .venv
BIN := $(VENV)/bin
PARTNERS := tests/partners/node_modules/.ready-$(shell cat tests/partners/package-lock.json | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d' ' -f1)

.PHONY: help venv lock sbom partners partners-generated partners-github demo up test lint types fast hunt contract fuzz acceptance format bench hostile chaos chaos-mutants clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

venv: $(READY) ## build the environment in .venv, what every other target runs on

$(READY): requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and was not found; install it, or say where: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; say where a newer one is: make PYTHON=/path/to/python3.11"; exit 1; }
	@rm -rf $(VENV)
	@# Debian packs Python without ensurepip; a pip of the system's own can take its place.
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python --version >/dev/null; } \
	  || { rm -rf $(VENV); echo "Python's venv module is incomplete here; on Debian: apt-get install python3.11-venv"; exit 1; }
	@echo "Installing into $(VENV) (about half a minute) …"
	@pip="$(BIN)/python -m pip"; test -x $(BIN)/pip || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	  $$pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

lock: ## write requirements*.txt from requirements*.in; UPGRADE="django redis" for their newest versions, UPGRADE=all for all
	@test -x $(BIN)/uv || $(MAKE) --no-print-directory venv
	@for list in requirements requirements-dev; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	    $(if $(filter all,$(UPGRADE)),--upgrade,$(addprefix --upgrade-package ,$(UPGRADE))) $$list.in --output-file $$list.txt || exit 1; \
	done

sbom: venv ## write sbom.json, what a production install consists of, in CycloneDX's form
	@$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json
	@echo "sbom.json: every package of requirements.txt with its version and hashes"

partners: venv $(PARTNERS) ## install the programs from npm that the tests drive, as tests/partners/package-lock.json has them

$(PARTNERS): $(READY) tests/partners/package-lock.json
	@echo "Installing the partners from npm into tests/partners/node_modules …"
	@$(BIN)/python -m tests.partners.node
	@touch $@

partners-generated: venv ## generate clients in Python, TypeScript, Go and Java from the OpenAPI document, use them, and lint it
	@echo "Installing the generators and linters into .hookhub/generators …"
	@$(BIN)/python -m tests.partners.generators
	@$(BIN)/python -m pytest -q -m generated tests/partners/test_generated_clients.py

partners-github: venv ## build programs on go-github, hub4j and octocrab, install gh, and see them work here; needs Go, a JDK, Maven, Rust
	@echo "Building and installing GitHub's clients into .hookhub/github (a few minutes the first time) …"
	@$(BIN)/python -m tests.partners.github_clients
	@$(BIN)/python -m pytest -q -m github tests/partners/test_github_clients.py tests/partners/test_gh.py

demo: venv ## push to a real repository and watch the events arrive, signed, retried and recorded
	@$(BIN)/python manage.py demo

up: venv ## run the service in the foreground; prints its address and, the first time, a login and an API key
	@exec $(BIN)/python manage.py up $(if $(PORT),--port $(PORT))

test: venv ## lint, check the types, run every test
	@# At once: npm waits for the network while mypy computes.
	@$(MAKE) --no-print-directory --jobs=3 partners lint types
	@# In one run, so that what computes fills the time in which what has processes of its own waits.
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

lint: venv ## ruff, import-linter, and whether the migrations are complete
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@HOOKHUB_HOME=.hookhub/tests $(BIN)/python manage.py makemigrations --check --dry-run

types: venv ## mypy, strict
	@$(BIN)/mypy

fast: venv ## the unit tests and the contract, in half a minute and without a server
	@HOOKHUB_TESTS_WITHOUT_SERVERS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal tests/unit tests/contract

hunt: venv ## let Hypothesis draw new examples for the tests that state a property; `make test` repeats the same ones
	@HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(shell grep -rl hypothesis tests --include='test_*.py')

contract: venv ## write anew what users meet, after a change of it on purpose; see tests/contract
	@$(BIN)/python -m tests.contract --write

fuzz: venv ## send what the OpenAPI document allows and what it forbids to a HookHub of its own, some minutes; SEED=8 EXAMPLES=100
	@$(BIN)/python -m tests.fuzzing $(if $(SEED),--seed $(SEED)) $(if $(EXAMPLES),--examples $(EXAMPLES))

acceptance: partners ## the tests with real processes, and the browser
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m acceptance

format: venv ## put the code into shape
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

bench: venv ## measure it all in 6 to 9 minutes and write docs/benchmarks.md; BENCHES="fairness scale" for a part
	@$(BIN)/python -m bench.report $(BENCHES)

hostile: venv ## attack the web server in every way at once for 20 s, and see that health checks and other tenants are served
	@$(BIN)/python -m bench.hostile

chaos: venv ## kill, stall and cut off every part in turn for a quarter of an hour, and account for every event; SCENARIOS="storm" SEED=7 for a part
	@$(BIN)/python -m chaos $(SCENARIOS) $(if $(SEED),--seed $(SEED))

chaos-mutants: venv ## build bugs in on purpose, see that the harness finds each, and that it finds nothing without them
	@$(BIN)/python -m chaos bugs controls $(if $(SEED),--seed $(SEED))

clean: ## remove the environment, the caches and the embedded servers' data
	@rm -rf $(VENV) tests/partners/node_modules .hookhub .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
