# HookHub's targets. All of them work on a machine with Python 3.11, git and make; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# Found where it is first used, because it takes half a second.
PYTHON ?= $(eval PYTHON := $(shell .ci/python))$(PYTHON)
PORT ?=
# Three test processes per core of a small machine, because half of them wait for servers and workers that they started.
JOBS ?= 6
# The packages that `make lock` upgrades; "all" for all. Default: none.
UPGRADE ?=
# The benchmarks that `make bench` runs. Default: all.
BENCHES ?=
# The scenarios that `make chaos` runs, and its seed. Default: all, and a random seed.
SCENARIOS ?=
# The tests that `make coverage` runs, as arguments of pytest. Default: all.
TESTS ?=
# The number of examples that `make fuzz` generates for each operation. It uses SEED too.
EXAMPLES ?=
SEED ?=

# Some containers set this. Each of the hundreds of processes that the tests start would then compile the code anew.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PARTNERS := tests/partners/node_modules/.ready-$(shell cat tests/partners/package-lock.json sdk/typescript/package-lock.json | cksum | cut -d' ' -f1)
DOCS := .hookhub/docs-$(shell cat requirements-docs.txt | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d' ' -f1)

.PHONY: help venv sdk lock sbom partners partners-generated partners-github partners-deployment demo up test suite lint types collected coverage fast hunt contract examples fuzz acceptance acceptance-pgbouncer vendored messages format bench hostile chaos chaos-mutants docs wheel screenshots clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

venv: $(READY) ## create the Python environment in .venv, which all other targets use

$(READY): requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and was not found; install it, or say where: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; say where a newer one is: make PYTHON=/path/to/python3.11"; exit 1; }
	@rm -rf $(VENV)
	@# Debian packages Python without ensurepip; the system's pip can be used instead.
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python --version >/dev/null; } \
	  || { rm -rf $(VENV); echo "Python's venv module is incomplete here; on Debian: apt-get install python3.11-venv"; exit 1; }
	@echo "Installing into $(VENV) (about a quarter of a minute) …"
	@# With uv, which takes a sixth of pip's time, unless pip is set up for an index or a proxy: uv would not use it.
	@pip="$(BIN)/python -m pip"; test -x $(BIN)/pip || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	  own=$$($$pip config list | grep -E "\.(index-url|extra-index-url|no-index|proxy|trusted-host|client-cert)="); \
	  pip="$$pip install --quiet --disable-pip-version-check --require-hashes"; \
	  test -z "$$own" \
	  && $$pip -r <(sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt) \
	  && $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --require-hashes -r requirements-dev.txt \
	  || $$pip -r requirements-dev.txt
	@touch $@

lock: ## write requirements*.txt from requirements*.in; UPGRADE="django redis" upgrades these packages, UPGRADE=all all of them
	@test -x $(BIN)/uv || $(MAKE) --no-print-directory venv
	@for list in requirements requirements-observability requirements-sso requirements-dev requirements-docs; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	    $(if $(filter all,$(UPGRADE)),--upgrade,$(addprefix --upgrade-package ,$(UPGRADE))) $$list.in --output-file $$list.txt || exit 1; \
	done

sbom: venv ## write sbom.json, the CycloneDX list of packages of a production install
	@# The tool does not resolve a version that pyproject.toml takes from the code.
	@$(BIN)/cyclonedx-py requirements requirements.txt --output-reproducible --of JSON -o sbom.json \
	  --pyproject <(sed "s/^dynamic = .*/version = \"$$(sed -n 's/^VERSION = "\(.*\)"/\1/p' deliveries/version.py)\"/" pyproject.toml)
	@echo "sbom.json: every package of requirements.txt with its version and hashes"

partners: venv $(PARTNERS) ## install the npm programs that the tests run, and those that sdk/typescript is built with

$(PARTNERS): $(READY) tests/partners/package-lock.json sdk/typescript/package-lock.json
	@echo "Installing the partners from npm into tests/partners/node_modules, and what sdk/typescript is built with …"
	@$(BIN)/python -m tests.partners.node
	@touch $@

partners-generated: venv ## lint the OpenAPI document; generate clients in Python, TypeScript, Go and Java from it and test them
	@echo "Installing the generators and linters into .hookhub/generators …"
	@$(BIN)/python -m tests.partners.generators
	@$(BIN)/python -m pytest -q -m generated tests/partners/test_generated_clients.py

partners-github: venv ## test with go-github, hub4j, octocrab and gh, which it builds or installs; needs Go, a JDK, Maven, Rust
	@echo "Building and installing GitHub's clients into .hookhub/github (a few minutes the first time) …"
	@$(BIN)/python -m tests.partners.github_clients
	@$(BIN)/python -m pytest -q -m github tests/partners/test_github_clients.py tests/partners/test_gh.py

partners-deployment: venv ## check the Helm chart and the Caddyfile with Helm, Kubernetes' schemas and Caddy, which it builds; needs Go
	@echo "Building and installing the programs into .hookhub/deployment (some minutes the first time) …"
	@$(BIN)/python -m tests.partners.deployment_tools
	@$(BIN)/python -m pytest -q -m deployment tests/partners/test_deployment.py

demo: venv ## push to a real git repository and show its events arrive, signed, retried and recorded; KEEP=1 leaves it up
	@$(BIN)/python manage.py demo $(if $(KEEP),--keep)

up: venv ## run the service in the foreground; prints its address and, the first time, a login and an API key
	@exec $(BIN)/python manage.py up $(if $(PORT),--port $(PORT))

test: venv ## lint, type-check, run every test
	@# In parallel: npm waits for the network, and tests wait for processes, while ruff and mypy compute.
	@$(MAKE) --no-print-directory --jobs=4 types suite

# In one run, so that tests that compute use the time in which tests with processes wait.
suite: partners lint collected
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -p tests.collected

lint: venv ## run ruff and import-linter, and check that the migrations are complete
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@HOOKHUB_HOME=.hookhub/tests $(BIN)/python manage.py makemigrations --check --dry-run

types: venv ## run mypy in strict mode
	@$(BIN)/mypy

# Each process of the run would compile and import all test modules; it reads a list of all tests, which this writes.
collected: venv
	@$(BIN)/python -m pytest -qq -p no:xdist -p tests.collected --collect-only >/dev/null || true

coverage: partners ## run every test, and list the lines and branches of deliveries and hookhub that no test reaches; TESTS="tests/unit"
	@rm -rf .hookhub/coverage && mkdir -p .hookhub/coverage
	@$(BIN)/python -m coverage run -m pytest -q -n $(JOBS) --dist worksteal $(TESTS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report $(if $(TESTS),--fail-under=0)

fast: venv ## run the unit and contract tests, in half a minute and without a server
	@HOOKHUB_TESTS_WITHOUT_SERVERS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal tests/unit tests/contract

hunt: venv ## run the property tests with new examples from Hypothesis; `make test` repeats the same ones
	@HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(shell grep -rl hypothesis tests --include='test_*.py')

sdk: partners ## regenerate what is generated in sdk/, after a change of the API or of a format
	@$(BIN)/python -m tests.sdk

contract: venv ## rewrite the list of what users depend on, after an intended change; see tests/contract
	@$(BIN)/python -m tests.contract --write

examples: venv ## write the examples of the OpenAPI document anew, after an intended change; see docs/decisions/0036
	@echo '{}' | tee hookhub/descriptions/examples.json >hookhub/descriptions/error_examples.json
	@HOOKHUB_WRITE_EXAMPLES=1 $(BIN)/python -m pytest -q tests/integration/test_document.py tests/integration/test_document_errors.py

fuzz: venv ## send valid and invalid requests, generated from the OpenAPI document, for some minutes; SEED=8 EXAMPLES=100
	@$(BIN)/python -m tests.fuzzing $(if $(SEED),--seed $(SEED)) $(if $(EXAMPLES),--examples $(EXAMPLES))

acceptance: partners ## run the tests with real processes and a browser
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m acceptance

acceptance-pgbouncer: partners ## run them through PgBouncer in transaction mode, without and with prepared statements
	@HOOKHUB_TESTS_THROUGH_PGBOUNCER=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m acceptance
	@PGBOUNCER=$$($(BIN)/python -m tests.pgbouncer) HOOKHUB_TESTS_THROUGH_PGBOUNCER=prepared \
	  $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m acceptance

vendored: partners ## copy what pages load from npm packages, after its version in tests/partners/package.json has changed
	@cp tests/partners/node_modules/htmx.org/dist/htmx.min.js hookhub/static/hookhub/vendor/

messages: venv ## collect the portal's messages for translation in hookhub/locale, and compile the translations
	@HOOKHUB_HOME=.hookhub/tests $(BIN)/python -m tests.messages

format: venv ## format the code
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

bench: venv ## run all benchmarks in about 15 minutes and write docs/benchmarks.md; BENCHES="light latency" for some
	@$(BIN)/python -m bench.report $(BENCHES)

hostile: venv ## attack the web server in every way at once for 20 s; fails unless health checks and other tenants are served
	@$(BIN)/python -m bench.hostile

chaos: venv ## inject faults into every part for a quarter of an hour, and account for every event; SCENARIOS="storm" SEED=7 for some
	@$(BIN)/python -m chaos $(SCENARIOS) $(if $(SEED),--seed $(SEED))

chaos-mutants: venv ## check that the fault harness finds bugs built in on purpose, and nothing without them
	@$(BIN)/python -m chaos bugs controls $(if $(SEED),--seed $(SEED))

docs: $(DOCS)/.ready ## build docs/ into build/docs, which `make up` serves at /docs/; a broken link is an error
	@$(DOCS)/bin/zensical build --strict --clean

$(DOCS)/.ready: $(READY) requirements-docs.txt
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(DOCS)
	@$(BIN)/uv pip install --quiet --python $(DOCS)/bin/python --require-hashes -r requirements-docs.txt
	@touch $@

wheel: venv ## build the wheel and the source distribution into dist/
	@$(BIN)/uv build --quiet --system-certs --out-dir dist
	@rm -rf hookhub.egg-info

screenshots: venv ## render the pictures of the documentation with Chromium
	@$(BIN)/python -m tests.screenshots

clean: ## delete the environment, the caches and the embedded servers' data
	@rm -rf $(VENV) tests/partners/node_modules sdk/typescript/node_modules sdk/typescript/dist build .cache .hookhub .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
