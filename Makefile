# Every entry point of the project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where to: `local` is AWS on this machine and safe anywhere; `aws` is the account that your own AWS_PROFILE reaches.
ENV ?= dev
TARGET ?= local
export ENV STRATEGY FROM_PROFILE FILES PHASES SIZES PEERS ROUNDS

# What a user writes is passed on as it is: Make would take a dollar sign for the start of a variable of its own.
TEXTS := ACCEPT BACKUP COUNT DATASET FILE FOLDER FROM MESSAGE MONTH ON ROLE SET SQL TO VERSION
$(foreach name,$(TEXTS),$(if $(filter-out undefined,$(origin $(name))),$(eval override export $(name) := $$(value $(name)))))

# ---- where things are ------------------------------------------------------------------------------------------------
export PATH := $(CURDIR)/.venv/dev/bin:$(CURDIR)/.venv/uv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/scripts:$(CURDIR)/lambdas/layers/common/python
export LOCALAWS_HOME ?= $(CURDIR)/.local
export LOCALAWS_PORT ?= 4566
export LOCALAWS_GLUE_PYTHON := $(CURDIR)/.venv/glue/bin/python
export LOCALAWS_LAMBDA_PYTHON := $(CURDIR)/.venv/lambda/bin/python

LOCALAWS := PYTHONPATH="$(CURDIR)" "$(CURDIR)/.venv/localaws/bin/python" -m localaws

ENVIRONMENTS := dev qa staging prod
ifeq ($(filter $(ENV),$(ENVIRONMENTS)),)
  $(error ENV=$(ENV) is not an environment; choose one of: $(ENVIRONMENTS))
endif

# Local AWS is an AWS profile like any other, so nothing below this line knows the target. The caller's own AWS
# settings are hidden from it: a stray AWS_ENDPOINT_URL or key must not send a local deploy elsewhere.
ifeq ($(TARGET),local)
  export AWS_CONFIG_FILE := $(LOCALAWS_HOME)/aws/config
  export AWS_SHARED_CREDENTIALS_FILE := $(LOCALAWS_HOME)/aws/credentials
  export AWS_PROFILE = $(ENV)
  unexport AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_DEFAULT_PROFILE
  unexport FROM_PROFILE AWS_ENDPOINT_URL AWS_IGNORE_CONFIGURED_ENDPOINT_URLS AWS_REGION AWS_DEFAULT_REGION AWS_CA_BUNDLE
  export NO_PROXY := 127.0.0.1
  UP := up
else ifeq ($(TARGET),aws)
  UP :=
else
  $(error TARGET=$(TARGET) is neither local nor aws)
endif

.PHONY: help setup lock demo up down reset build package-glue package-lambda deploy upload infra app plan drift backup backups rollback releases smoke promote approve preflight postcheck live notify status sample feed resend query config rejected replay backfill rebuild watermark freshness test unit oracle integration release-test localaws-test e2e e2e-long pipeline-test drill bench lint audit format

help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# ---- set-up ----------------------------------------------------------------------------------------------------------
setup: ## Install the hash-locked tools into .venv (a second run does nothing)
	@scripts/setup.sh

lock: ## Resolve requirements/*.in anew into hashed requirements/*.txt
	@scripts/setup.sh --lock

# ---- local AWS -------------------------------------------------------------------------------------------------------
up: setup ## Start local AWS
	@LOCALAWS_PROFILES="$$(python -m ops.config accounts)" $(LOCALAWS) up

down: ## Stop local AWS; its state is kept
	@$(LOCALAWS) down

reset: ## Wipe local AWS
	@$(LOCALAWS) reset

# ---- release ---------------------------------------------------------------------------------------------------------
build: setup ## Build build/<version>/ and its manifest [VERSION=]
	@scripts/build.sh

package-glue: setup ## Package the Glue job for the next build
	@scripts/build.sh --only glue

package-lambda: setup ## Package the functions and their layer for the next build
	@scripts/build.sh --only lambda

deploy: setup $(UP) ## Deploy a release: ENV=dev|qa|staging|prod [VERSION=] [STRATEGY=blue-green|canary] [TARGET=aws]
	@scripts/deploy.sh --env $(ENV)

upload: setup $(UP) ## The first part of a deploy: the release into its bucket: ENV= [VERSION=]
	@scripts/deploy.sh --env $(ENV) --part upload

infra: setup $(UP) ## The second part of a deploy: the stacks: ENV= [VERSION=]
	@scripts/deploy.sh --env $(ENV) --part infrastructure

app: setup $(UP) ## The last part of a deploy: publish, test, switch: ENV= [VERSION=]
	@scripts/deploy.sh --env $(ENV) --part application

plan: setup $(UP) ## What a deploy would change, nothing is changed: ENV= [VERSION=]; the script exits 2 for changes
	@scripts/plan.sh --env $(ENV)

drift: setup $(UP) ## What was changed by hand in ENV since its deploy; the command exits 2 for drift
	@python -m ops.drift.detect --env $(ENV)

backup: setup $(UP) ## Back up what is live in ENV, as every deploy does first
	@scripts/backup.sh --env $(ENV)

backups: setup $(UP) ## The backups of ENV, each a way back to what was live when it was made
	@python -m ops.backup.listing show --env $(ENV)

rollback: setup $(UP) ## Back to the release before, any kept one, or a backup: ENV= [TO=<version>|BACKUP=<id>]
	@scripts/rollback.sh --env $(ENV)

releases: setup $(UP) ## Deploys and rollbacks of ENV, and the releases that it can go back to
	@python -m ops.release.history --env $(ENV)

smoke: setup $(UP) ## Prove that what is live in ENV loads rows: ENV= [DATASET=]
	@scripts/smoke_test.sh --env $(ENV)

promote: override ENV := $(TO)
promote: setup $(UP) ## Deploy the release that passed its checks in FROM to the next environment: FROM= TO= [VERSION=]
	@scripts/promote.sh

approve: setup $(UP) ## Sign off one release for ENV in the name of a role: ENV= ROLE= VERSION=
	@scripts/approve.sh --env $(ENV)

preflight: setup $(UP) ## The checks before a deploy: ENV= [VERSION=]
	@scripts/preflight.sh --env $(ENV)

postcheck: setup $(UP) ## The checks after a deploy, which a promotion asks for: ENV=
	@python -m ops.release.postcheck --env $(ENV)

live: setup $(UP) ## The name of the release that is live in ENV, and below it of its canary; nothing where none is
	@python -m ops.release.live --env $(ENV)

notify: setup $(UP) ## Tell those who get the alarms of ENV: ENV= MESSAGE=
	@python -m ops.notify --env $(ENV)

# ---- data ------------------------------------------------------------------------------------------------------------
demo: override ENV := dev
demo: deploy ## From a bare clone: deploy to dev and load seven days of real purchases
	@python -m ops.data.demo --env $(ENV)

sample: setup ## Write files of the real feed, print their paths: DATASET=products|transactions|promotions [FROM=YYYY-MM-DD] [COUNT=]
	@python -m ops.data.real_feed

feed: setup $(UP) ## Put a file in the inbox and follow it to its end: ENV= FILE= [DATASET=]
	@python -m ops.data.feed --env $(ENV)

resend: setup $(UP) ## Start runs of the files that still lie in the inbox, each once: ENV=
	@python -m ops.data.inbox --env $(ENV)

query: setup $(UP) ## Rows from the warehouse as CSV: ENV= SQL="select ..."
	@python -m ops.data.query --env $(ENV)

rejected: setup $(UP) ## The rows of a file that were not loaded: line, reasons, text: ENV= FILE=
	@python -m ops.data.rejected --env $(ENV)

replay: setup $(UP) ## Run archived files again; stopped, it goes on: ENV= DATASET= [FROM=YYYY-MM-DD] [TO=] [PARALLEL=]
	@python -m ops.data.replay --env $(ENV)

backfill: setup $(UP) ## Load a month from a folder, or again from the archive: ENV= DATASET= MONTH=YYYY-MM [FOLDER=]
	@python -m ops.data.backfill --env $(ENV)

rebuild: setup $(UP) ## Make a table anew from the archive and swap it in: ENV= DATASET= [ACCEPT=1]
	@python -m ops.data.rebuild --env $(ENV)

# SET means configuration everywhere else; here it is a day.
watermark: export WATERMARK := $(SET)
watermark: override SET :=
watermark: setup $(UP) ## How far each dataset is loaded: ENV= [DATASET=] [SET=YYYY-MM-DD] [RESET=1]
	@python -m ops.data.watermark --env $(ENV)

freshness: setup $(UP) ## Whether each dataset's next file is overdue, which fails: ENV= [DATASET=] [ON=YYYY-MM-DD]
	@python -m ops.data.freshness --env $(ENV)

status: setup $(UP) ## What is live in ENV, its last runs and its alarms
	@python -m ops.release.status --env $(ENV)

config: setup ## The merged configuration of ENV and where each value comes from [SET="a.b=c ..."]
	@python -m ops.config show --env $(ENV)

# ---- checks ----------------------------------------------------------------------------------------------------------
E2E_LONG := tests/e2e/releases tests/e2e/changes tests/e2e/replays tests/e2e/faults

test: setup unit integration e2e ## The tests of every change

# Each layer leaves evidence for the release that the checkout makes, if all of it has passed: gates.tests asks for it.
unit: setup ## Unit tests: seconds, no server
	@reports="$$(python -m ops.checks.evidence_of_tests begin $@)"
	python -m pytest -n 2 --dist loadgroup tests/unit glue-jobs/tests --ignore glue-jobs/tests/whole_job lambdas \
	  --junitxml="$$reports/pytest.xml" --cov --cov-report=
	for code in glue-jobs lambdas; do coverage report --include="$$code/*"; done
	bats --report-formatter junit --output "$$reports" tests/unit
	python -m ops.checks.evidence_of_tests end $@

oracle: setup ## Great Expectations judges by the same rules: verdicts and counts must agree
	@scripts/setup.sh quality
	.venv/quality/bin/python -m pytest -q tests/oracle

integration: setup ## Whole runs of the job, any CSV against plain Python, each other part of the pipeline against local AWS
	@reports="$$(python -m ops.checks.evidence_of_tests begin $@)"
	python -m pytest -n 4 --dist loadfile --junitxml="$$reports/pytest.xml" \
	  tests/integration glue-jobs/tests/whole_job
	python -m ops.checks.evidence_of_tests end $@

release-test: setup ## The commands that build, release, go back and tidy up, each by itself against local AWS
	@reports="$$(python -m ops.checks.evidence_of_tests begin $@)"
	python -m pytest -n 4 --dist loadfile --junitxml="$$reports/pytest.xml" tests/releases
	python -m ops.checks.evidence_of_tests end $@

localaws-test: setup ## The tests of local AWS itself
	@python -m pytest -n 4 --dist loadfile tests/localaws

e2e: setup ## Deploy and prove rows in the warehouse
	@reports="$$(python -m ops.checks.evidence_of_tests begin $@)"
	scripts/build.sh >/dev/null # once, for both workers
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --junitxml="$$reports/pytest.xml" \
	  $(foreach suite,$(E2E_LONG),--ignore $(suite)) tests/e2e
	python -m ops.checks.evidence_of_tests end $@

e2e-long: setup ## Broken releases, promotion, canary, restore, plan, drift, replays and faults on whole environments: half an hour
	@scripts/build.sh >/dev/null # once, for both workers
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(E2E_LONG)

pipeline-test: setup ## Run the Jenkinsfile against local AWS, and broken ones; TESTS=all: its test stages whole; TESTS=few: nothing is deployed
	@scripts/setup_groovy.sh
	python -m pytest -n 2 --dist loadfile $(if $(filter few,$(TESTS)),--ignore tests/pipeline/test_releases.py) tests/pipeline

drill: setup ## Break a deploy in each phase; switch ten times while files come: [FILES=200] [PHASES="publish ..."|none]
	@python -m tests.drills --files "$${FILES:-200}" --phases "$${PHASES:-}"

bench: setup ## The job's speed beside DuckDB, Polars and plain Spark; writes docs/performance.md, costs.md: [SIZES="100 1000"] [PEERS=] [ROUNDS=]
	@scripts/setup.sh bench
	python -m tests.bench --sizes "$${SIZES:-100 1000}" --peers "$${PEERS:-}" --rounds "$${ROUNDS:-3}"

lint: setup ## black, pylint, shellcheck, shfmt, cfn-lint, state machine and policy checks
	@scripts/lint.sh

audit: setup ## Known vulnerabilities of the locked packages (asks a public service)
	@scripts/audit.sh

format: setup ## Format Python and shell in place
	@black --quiet .
	shfmt -w -i 2 -ci scripts
