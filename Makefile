# All commands of this project. Works with GNU make 3.81 and BSD tools.
SHELL := /bin/sh
PORT ?= 8000
unexport PYTHONDONTWRITEBYTECODE PYTHONOPTIMIZE PYTHONPATH

# PYTHON= if it is set; else the best one here, from 3.13 (Lambda's) down to 3.11, pyenv's included.
# Inside a virtual environment, the Python that it was made from: the environment may be gone tomorrow.
FIND_PYTHON = BASE='import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit(1); print(getattr(sys, "_base_executable", sys.executable))'; \
	for p in $(or $(PYTHON),python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13 \
	  python3.12 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.12*/bin/python3.12 \
	  python3.11 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.11*/bin/python3.11 python3); do \
	  "$$p" -c "$$BASE" 2>/dev/null && break; done
# uv, from PATH or installed into .local: by a venv, or by pip alone where Debian ships Python without ensurepip.
FIND_UV = if [ -x .local/uv/bin/uv ]; then echo "$(CURDIR)/.local/uv/bin/uv"; else command -v uv; fi
PY := .venv/bin/python
PAGE := lambda_src/web/index.html
RUN = UV="$$($(FIND_UV))" PATH="$(CURDIR)/.venv/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: help setup page dev chat test-agent eval test browser add knowledge clean template bootstrap deploy deploy-local \
	bundle verify prove logs cost destroy examples check check-own-agent check-oldest-python lint snapshots \
	docs test-dynamodb-local test-upstream test-litellm \
	simulate test-deletable test-usage bench-runtime bench-store bench-page screenshots bench-turns test-machines bench-journal bench-memory \
	bench-people bench-auth fuzz test-optimizations benchmarks bench-cold bench-opening bench-turn bench-streams imports audit lock types contracts format

##@ Develop

help: ## print this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/installed $(PAGE) ## find Python, install uv and the locked packages, build the page

PIP_UV = -q --disable-pip-version-check --only-binary :all: --require-hashes --requirement requirements/uv.txt

# Sets $$python to the best interpreter, and installs uv unless FIND_UV finds it.
BRING_UV = if ! [ -w . ]; then echo "$(CURDIR) is read-only: use a copy that you may write to." >&2; exit 1; fi; \
	 python=$$($(FIND_PYTHON)); \
	 if [ -z "$$python" ]; then echo "$(if $(PYTHON),PYTHON=$(PYTHON) is not Python 3.11 to 3.13.,No Python 3.11 to 3.13 found.) Install one (https://www.python.org/downloads/) and run this again." >&2; exit 1; fi; \
	 if [ -z "$$($(FIND_UV))" ]; then \
	   echo "Installing uv into .local/uv ..."; mkdir -p .local; \
	   { "$$python" -m venv .local/uv >/dev/null 2>&1 && .local/uv/bin/python -m pip install $(PIP_UV); } \
	   || { rm -rf .local/uv; "$$python" -m pip install --target .local/uv $(PIP_UV); } \
	   || { echo "uv could not be installed: see the lines above; https://docs.astral.sh/uv/ has other ways." >&2; exit 1; }; \
	 fi

# MiniStack has its own environment, because it pins botocore (requirements/ministack.in).
.venv/installed: pyproject.toml uv.lock requirements/ministack.txt
	@$(BRING_UV); uv="$$($(FIND_UV))"; \
	 echo "Installing what uv.lock says for $$("$$python" --version) ..."; \
	 "$$uv" sync --quiet --frozen --python "$$python" \
	 && "$$uv" venv --quiet --clear --no-project --python "$$python" .venv/ministack \
	 && "$$uv" pip install --quiet --python .venv/ministack --require-hashes --requirement requirements/ministack.txt \
	 && touch .venv/installed

page: .venv/installed ## build the page of web/ into lambda_src/web/ (the first time, npm installs its libraries)
	@$(RUN) $(PY) -m infra.bundle.web_page

$(PAGE): .venv/installed web/package-lock.json web/build.mjs $(wildcard web/src/* web/src/client/* web/src/operator/*)
	@echo "Building the page ..."; $(RUN) $(PY) -m infra.bundle.web_page

dev: .venv/installed $(PAGE) ## start the chat on http://127.0.0.1:8000 in an emulated Lambda (PORT=8123 for another port; ORIGIN=http://localhost:5173 allows a site)
	@$(RUN) exec $(PY) -m lambda_src.dev --port $(PORT) $(if $(ORIGIN),--origin "$(ORIGIN)") $(FLAGS)

chat: .venv/installed ## run the command line: make chat ARGS="export USER" (ARGS=--help lists all)
	@$(RUN) $(PY) -m lambda_src.cli $(or $(ARGS),--help)

test-agent: .venv/installed ## run the tests of your agent, in tests/agent (REAL_MODEL=1 for the real model)
	@$(RUN) $(PY) -m pytest -q tests/agent

eval: .venv/installed ## evaluate your agent on tests/agent/cases.jsonl (FLAGS="--real --at-least 90%"; CASES=other.jsonl)
	@$(RUN) $(PY) -m lambda_src.dev.evals $(CASES) $(FLAGS)

test: .venv/installed $(PAGE) ## run all tests, offline (those of the page need a browser: make browser)
	@$(RUN) $(PY) -m pytest -n auto --dist loadgroup -q

browser: ## install the headless Chromium that the tests of the page drive (Debian's; needs root)
	@.ci/browser

add: .venv/installed ## add a package that your tools import, to the group `agent` and the zip: NAME=stripe
	@test -n "$(NAME)" || { echo "make add needs a name: make add NAME=stripe" >&2; exit 1; }
	@$(RUN) sh -c '"$$UV" add --quiet --group agent "$(NAME)"'

knowledge: .venv/installed ## upload the documents in DIR= for your assistant to search (STAGE= LINK="https://docs.example.com/{path}" FLAGS=--dry-run)
	@test -n "$(DIR)" || { echo "make knowledge needs a folder: make knowledge DIR=docs/" >&2; exit 1; }
	@$(RUN) $(PY) -m lambda_src.cli knowledge "$(DIR)" $(if $(STAGE),--stage "$(STAGE)") $(if $(LINK),--link "$(LINK)") $(FLAGS)

clean: ## delete everything that can be built again (keeps your local data in .local/)
	@rm -rf .venv build lambda_src/web web/node_modules cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

##@ Deploy

template: .venv/installed ## synthesize the stacks of STAGE= to cdk.out/, without an account
	@$(RUN) $(PY) -m infra.commands.template $(if $(STAGE),--stage $(STAGE))

bootstrap: .venv/installed ## prepare your AWS account for CDK, once in each region
	@$(RUN) $(PY) -m infra.commands.bootstrap $(if $(STAGE),--stage "$(STAGE)")

deploy: .venv/installed $(PAGE) ## build the zip and deploy it to your AWS account
	@$(RUN) $(PY) -m infra.commands.deploy $(if $(STAGE),--stage $(STAGE))

deploy-local: .venv/installed $(PAGE) ## deploy the stage to a local AWS that keeps running (STOP=1 ends it; PORT= for another port)
	@$(RUN) $(PY) -m infra.commands.deploy_local $(if $(STAGE),--stage $(STAGE)) $(if $(filter-out file,$(origin PORT)),--port $(PORT)) $(if $(STOP),--stop)

bundle: .venv/installed $(PAGE) ## build what Lambda runs, in build/
	@$(RUN) $(PY) -m infra.bundle.build $(if $(ARCHITECTURE),--architecture $(ARCHITECTURE))

verify: .venv/installed ## check a deployment from outside: URL= (STAGE= ORIGIN= PROMPT= TIMEOUT=); writes to docs/verified/
	@$(RUN) $(PY) -m lambda_src.dev.verify "$(URL)" $(if $(ORIGIN),--origin "$(ORIGIN)") $(if $(PROMPT),--prompt "$(PROMPT)") \
	  $(if $(TIMEOUT),--timeout "$(TIMEOUT)") $(if $(STAGE),--stage "$(STAGE)")

prove: .venv/installed $(PAGE) ## test it on your AWS account: deploy the stage proof, verify it, destroy it (LOCAL=1 tries it without an account; EMAIL= REGION= SUBNETS= GROUPS= SKIP= DESTROY=1)
	@$(RUN) $(PY) -m infra.proof.prove $(if $(LOCAL),--local) $(if $(DESTROY),--destroy) $(if $(REGION),--region "$(REGION)") \
	  $(if $(EMAIL),--email "$(EMAIL)") $(if $(SUBNETS),--subnets $(SUBNETS)) $(if $(GROUPS),--security-groups $(GROUPS)) \
	  $(if $(SKIP),--skip "$(SKIP)")

logs: .venv/installed ## print a stage's log lines of one request: STAGE= REQUEST=x-request-id SINCE=6h
	@$(RUN) $(PY) -m infra.commands.logs $(if $(STAGE),--stage "$(STAGE)") --request "$(REQUEST)" $(if $(SINCE),--since "$(SINCE)")

cost: .venv/installed ## estimate the cost of the stage in cdk.out/ when idle, or of TURNS=1e6 SECONDS=8 MEMORY=1024 MODE=managed a month
	@$(RUN) $(PY) -m infra.cost.estimate $(if $(TURNS),--turns $(TURNS) --seconds $(or $(SECONDS),8) --memory $(or $(MEMORY),1024) --mode $(or $(MODE),lambda),--idle)

destroy: .venv/installed ## delete the API of STAGE= (DATA=1: its data stack too), and list what remains
	@$(RUN) $(PY) -m infra.commands.destroy --stage "$(STAGE)" $(if $(DATA),--data)

##@ Maintain

examples: .venv/installed $(PAGE) ## test the examples and sign-in with a certified provider in Chromium (npm)
	@$(RUN) $(PY) -m pytest -q -m slow tests/web

check: lint types contracts test ## run the checks of CI: lint, types, import contracts, tests

check-own-agent: .venv/installed ## check that everything passes with a user's own agent
	@$(RUN) .ci/own-agent

check-oldest-python: ## test on Python 3.11 whatever depends on the Python version
	@.ci/oldest-python

lint: .venv/installed
	@$(RUN) ruff check . && $(RUN) ruff format --check --quiet .
types: .venv/installed
	@$(RUN) mypy
contracts: .venv/installed
	@$(RUN) lint-imports
format: .venv/installed ## format the code and fix lint errors with ruff
	@$(RUN) ruff format --quiet . && $(RUN) ruff check --fix --quiet .

snapshots: .venv/installed ## rewrite the committed templates and docs/reference/configuration.md after you change infra/
	@$(RUN) $(PY) -m tests.infra.template_files

test-dynamodb-local: .venv/installed ## run the store's suites on DynamoDB Local (needs Java and npm; AWS's license)
	@$(RUN) CHAT_DYNAMODB_LOCAL=1 $(PY) -m pytest -q tests/store/test_dynamodb_local.py tests/store/test_ledger_dynamodb_local.py

test-upstream: .venv/installed ## run chatkit-python's own tests on our three stores (TREE=path of a checkout of chatkit-python)
	@$(RUN) $(PY) -m tests.upstream.run $(or $(TREE),$(error Name a checkout of chatkit-python: make test-upstream TREE=path))

test-litellm: .venv/installed ## test LiteLLM against a fake server (installs the library for this run only)
	@$(RUN) sh -c '"$$UV" run --quiet --no-sync --with "litellm~=1.106" python -m pytest -q -W ignore tests/models/litellm_model.py'

test-deletable: .venv/installed ## run all suites except the runtime's, with a stub instead of lambda_src/runtime
	@$(RUN) TEST_DELETABLE=all $(PY) -m pytest -q --timeout 0 tests/dev/test_deletable.py

bench-runtime: .venv/installed ## measure the runtime, an adapter with a loopback hop, and the minimum
	@$(RUN) $(PY) -m tests.bench.bench_runtime

bench-store: .venv/installed ## measure the stores and the bare clients (needs Java and npm)
	@$(RUN) $(PY) -m tests.bench.bench_store --dynamodb-local

bench-page: .venv/installed $(PAGE) ## measure the page in Chromium: Enter to bubble, delta to pixels, a very long answer
	@$(RUN) $(PY) -m tests.bench.bench_page

docs: .venv/installed ## build the documentation as a static site with search, in build/docs
	@$(RUN) sh -c '"$$UV" run --quiet --isolated --only-group docs zensical build --strict --clean'

screenshots: .venv/installed $(PAGE) ## take the screenshots in docs/images again
	@$(RUN) $(PY) -m tests.web.screenshots

bench-turns: .venv/installed ## measure Stop, kill -9 and the cost of the journal, in real processes
	@$(RUN) $(PY) -m tests.bench.bench_turns

test-machines: .venv/installed ## compare the stores with their models: 500 machines on the fast engines, 50 on the others
	@$(RUN) CHAT_STORE_MACHINES=500 $(PY) -m pytest -q -n auto --timeout 1200 tests/store/test_model.py tests/store/test_ledger_model.py \
	  tests/store/test_ministack.py::test_the_model_agrees tests/store/test_postgres.py::test_the_model_agrees

bench-journal: .venv/installed ## measure what it costs to protect an answer from a crash: the journal and a checkpoint
	@$(RUN) $(PY) -m tests.bench.bench_journal

bench-memory: .venv/installed ## check that the memory of a server on PostgreSQL does not grow in 10,000 turns (some minutes)
	@$(RUN) $(PY) -m tests.bench.bench_memory

bench-people: .venv/installed $(PAGE) ## measure the time from an operator's message to the user's page, in Chromium
	@$(RUN) $(PY) -m tests.bench.bench_people

bench-auth: .venv/installed ## measure what it costs to verify a token
	@$(RUN) $(PY) -m tests.bench.bench_auth

test-usage: .venv/installed ## compare the usage of a stage with a vendor's count, in 10,000 scripted turns (some minutes)
	@$(RUN) CHAT_USAGE_TURNS=10000 $(PY) -m pytest -q --timeout 0 tests/quotas/test_usage.py

simulate: .venv/installed ## simulate whole deployments under faults, from seeds: SEEDS=1000, 5000-5999 or 3,8; SEED=17 STEPS=3,8 for one (docs/explanation/simulation.md)
	@$(RUN) $(PY) -m tests.simulation $(if $(SEED),--seed "$(SEED)",--seeds "$(or $(SEEDS),200)") $(if $(STEPS),--steps "$(STEPS)") $(if $(JOBS),--jobs "$(JOBS)") $(FLAGS)

fuzz: .venv/installed ## send 20,000 random ChatKit bodies of the SDK's types, and 1,000 random requests of the OpenAPI document
	@$(RUN) CHAT_FUZZ=20000 CHAT_SCHEMATHESIS=1000 $(PY) -m pytest -q --timeout 0 tests/fuzz/test_bodies.py tests/fuzz/test_openapi.py

test-optimizations: .venv/installed ## run the suites that an optimization affects, with each one turned off (OPTIMIZATION=ahead for one; docs/explanation/speed.md)
	@$(RUN) sh -eu -c 'for name in $(or $(OPTIMIZATION),prewarm requests ahead history deltas); do echo "without $$name"; \
	  CHAT_OPTIMIZATIONS_OFF=$$name $(PY) -m pytest -q -n auto tests/test_*.py tests/http tests/auth tests/chat tests/runs tests/models tests/quotas tests/attachments tests/turns tests/e2e; done'

bench-cold: .venv/installed ## measure cold starts of the built zip and of a naive server (Linux)
	@$(RUN) $(PY) -m tests.bench.bench_cold

bench-turn: .venv/installed ## measure what a request, a model call, a word and a turn cost, also in long threads
	@$(RUN) $(PY) -m tests.bench.bench_turn

bench-streams: .venv/installed ## measure 1 to 200 streams in one process: added latency, CPU, memory (Linux)
	@$(RUN) $(PY) -m tests.bench.bench_streams

benchmarks: .venv/installed $(PAGE) ## write medians and ranges of RUNS=5 of each benchmark to docs/reference/benchmarks.md (hours; ONLY="bench-turn bench-cold")
	@$(RUN) $(PY) -m tests.bench.repeated --runs $(or $(RUNS),5) $(if $(ONLY),--only $(ONLY))

bench-opening: .venv/installed $(PAGE) ## measure a cold page in Chromium: until its list, and from Enter to the first word (Linux)
	@$(RUN) $(PY) -m tests.bench.bench_opening

imports: .venv/installed ## update tests/e2e/imports.json: what a cold function imports, and when
	@$(RUN) CHAT_WRITE_IMPORTS=1 $(PY) -m pytest -q tests/e2e/test_imports.py

audit: .venv/installed ## write a bill of materials of the zip and check it for known vulnerabilities (network)
	@$(RUN) .ci/audit

lock: ## resolve the dependencies again (FLAGS=--upgrade: the newest allowed versions; RESOLUTION=lowest-direct: the oldest)
	@$(BRING_UV); uv="$$($(FIND_UV))"; "$$uv" lock $(FLAGS) $(if $(RESOLUTION),--resolution "$(RESOLUTION)") && for name in ministack audit uv; do \
	   "$$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(FLAGS) \
	     requirements/$$name.in --output-file requirements/$$name.txt >/dev/null || exit 1; done
