# All tasks of a developer. `make` lists them; only Python 3.11-3.14 is needed.

PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
BIN = .venv/bin
PYTEST = $(BIN)/$(if $(COVERAGE),coverage run,python) -m pytest
export BASE CA KAFKA
# Without compiled code that is kept, each test worker takes twice as long to collect the tests.
unexport PYTHONDONTWRITEBYTECODE
ELSEWHERE = containers or browser or chart or cluster or servers
SEEDS ?= 10000
FROM ?= 0

.PHONY: help setup demo test test-fast test-brokers test-containers test-chart test-cluster test-servers test-browser chaos chaos-webhooks soak bench bench-peers lint format sim mutants lock ci schemas clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

setup: ## create .venv from the lock file (every target runs this first)
	@test -n "$(PYTHON)" || { echo "asset-sync needs Python 3.11 to 3.14 on PATH, or: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) tools/bootstrap.py

demo: setup ## run the whole system on this machine and kill two of its programs once (first run: 160 MB)
	$(BIN)/asset-sync demo

# With coverage the simulation takes five times as long and covers no other lines, so it runs without.
test: setup ## run the tests that need nothing but Python (COVERAGE=1: with test-brokers, coverage and its minimum)
	$(PYTEST) -n auto --dist loadgroup -m "not ($(ELSEWHERE)$(if $(COVERAGE),, or brokers))" \
		$(if $(COVERAGE),--ignore tests/simulation)
	$(if $(COVERAGE),$(BIN)/python -m pytest -n auto tests/simulation)
	$(if $(COVERAGE),@$(BIN)/coverage combine -q && $(BIN)/coverage report)

test-fast: setup ## run the tests that need no broker and little computing, in under a minute
	$(BIN)/python -m pytest -n auto --dist worksteal \
		-m "not kafka and not processes and not slow and not ($(ELSEWHERE))"

test-brokers: setup ## test with brokers that are killed, or have users and TLS
	$(BIN)/python -m pytest -n auto --dist loadgroup -m brokers tests/contract tests/integration

test-containers: setup ## test the image with a broker from testcontainers (needs a Docker engine)
	tests/containers/build
	$(BIN)/python -m pytest tests/containers --kafka=testcontainers $(if $(KAFKA),--kafka-image=local/cp-kafka:7.9.9)

test-chart: setup ## test the rendered chart (needs Go and npm, no cluster)
	tests/chart/tools
	$(BIN)/python -m pytest -n auto tests/chart

test-cluster: setup ## test chart and image on a real Kubernetes (needs Linux and root, or a cluster; ADDONS=1: NetworkPolicies and KEDA too)
	$(if $(TEST_KUBECONFIG),,tests/cluster/node/tools)
	$(if $(ADDONS),tests/cluster/node/addons)
	$(BIN)/python -m pytest tests/cluster

test-servers: setup ## test against real servers, proxies and senders (nginx, Squid, Svix, …)
	tests/servers/senders/setup
	$(BIN)/python -m pytest -n auto tests/servers

test-browser: setup ## test the status pages and the console in Chromium (TEST_CHROMIUM: its path)
	$(BIN)/python -m pytest tests/browser

chaos: setup ## inject faults of all kinds for SECONDS (120) from SEED, then check every promise
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED))

chaos-webhooks: setup ## kill ingress and Kafka while REQUESTS (100000) webhooks come, then look for each
	$(BIN)/python -m tests.chaos.webhooks --requests $(or $(REQUESTS),100000) $(if $(SEED),--seed $(SEED))

soak: setup ## run load without faults for SECONDS (3600), traced and scraped; memory must stay flat
	$(BIN)/python -m tests.chaos --calm --seconds $(or $(SECONDS),3600)

bench: setup ## measure performance and write docs/performance.md (BENCH=name: only this one, not written)
	$(BIN)/python -m benchmarks $(or $(BENCH),--write)

bench-peers: setup ## compare with other bridges and write docs/peers.md (PEER=name: only this program, not written; needs Java 17 and Maven)
	benchmarks/peers/setup
	$(BIN)/python -m benchmarks.peers $(if $(PEER),"$(PEER)",--write)

lint: setup ## check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

sim: setup ## simulate SEEDS worlds (10000) from seed FROM (0)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --from $(FROM)

mutants: setup ## put in small bugs one at a time and see which test finds each (ONLY=name, NO_BROKER=1, QUICK=1)
	$(BIN)/python -m tests.mutants $(if $(ONLY),--only $(ONLY)) $(if $(NO_BROKER),--no-broker) $(if $(QUICK),--quick)

lock: setup ## resolve both lock files again: for development and for the image (needs uv)
	uv pip compile pyproject.toml --extra demo --extra otel --group test --group lint --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		-o requirements.lock tools/build.in
	uv pip compile pyproject.toml --extra otel --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header -c requirements.lock -o requirements-run.lock tools/build-wheel.in

ci: lint test ## run lint and test, with which .ci/run begins

schemas: setup ## write schemas and generated pages; a diff of a schema is a change of the contract
	$(BIN)/asset-sync schema events > tests/contract/schemas/events.json
	$(BIN)/asset-sync schema outcomes > tests/contract/schemas/outcomes.json
	$(BIN)/asset-sync schema dead-letters > tests/contract/schemas/dead-letters.json
	$(BIN)/asset-sync schema asyncapi > tests/contract/schemas/asyncapi.json
	$(BIN)/asset-sync schema reasons > docs/reasons.md
	$(BIN)/asset-sync schema settings > docs/settings.md
	$(BIN)/asset-sync schema metrics > docs/metrics.md
	$(BIN)/asset-sync schema sources > tests/contract/schemas/sources.json
	$(BIN)/python -m tools.sources_reference
	$(BIN)/python -m tools.chart_schema
	@if [ -x .cache/chart-tools/bin/helm-docs ]; then \
		.cache/chart-tools/bin/helm-docs -s file -c deploy/helm/asset-sync -l warning; \
	else echo "not written: the chart's README (make test-chart fetches helm-docs)"; fi

clean: ## remove everything that these tasks created
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* build dist
