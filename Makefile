# `make` alone lists the targets. PYTHON=/path/to/python3.12 chooses the Python of .venv.
PYTHON ?=
export PIP_DISABLE_PIP_VERSION_CHECK = 1

BIN := .venv/bin
PIP := $(BIN)/pip install --require-hashes
MACHINE := PYTHON=$(PYTHON) requirements/machine

# Where the package looks for the jars of S3A, and the shell for programs that tests start.
JARS := .venv/share/verger/jars
export PATH := $(CURDIR)/.programs:$(PATH)

# What `make lint` reads besides Python. SCRIPTS are all files of the repository that a shell runs.
SCRIPTS = .ci/run image/decom.sh image/entrypoint.sh manifests/aws/leftovers manifests/aws/names.sh requirements/machine \
	requirements/programs requirements/release-programs scripts/kind
PAGES = README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs charts/verger/README.md manifests/*/README.md
# Go builds these two programs (`make programs`). A machine without them skips them and says so; CI must have them.
OPTIONAL = command -v $(1) >/dev/null || { echo "$(1) was not found: make programs"; [ -z "$$CI" ]; exit; };

# The image's name and tag; ARGS are more arguments of `docker build`.
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' job/verger/__init__.py)
IMAGE ?= verger:$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow test-all test-unit test-tools coverage lint format docs lock jars bench bench-scale image image-check wheels chart schemas programs kind e2e clean java

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: java .venv/.installed ## Make .venv, with `verger` in .venv/bin, from the locked requirements

run: install ## Draw sample photographs into sample/ and run the job on them, into out/
	@$(BIN)/verger sample sample
	@$(BIN)/verger run --input sample --output out

# Two tests at a time, a file's tests by one process; slow files are begun first, as pyproject.toml lists their folders.
PYTEST = $(BIN)/python -m pytest
PARALLEL = --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: test-tools ## Run the everyday tests, all but those marked slow; about 12 minutes on two cores
	$(PYTEST) $(PARALLEL) -m "not slow"

test-slow: test-tools ## Run the tests that are marked slow
	$(PYTEST) $(PARALLEL) -m slow

test-all: test-tools ## Run both, as CI does
	$(PYTEST) $(PARALLEL)

test-unit: .venv/.tools ## Run the tests that need neither Spark nor TensorFlow, in seconds
	$(PYTEST) tests/unit

coverage: test-tools ## Run both, and show which lines and branches they reach; takes much longer
	$(PYTEST) $(PARALLEL) --cov --cov-report term --cov-report html:build/coverage

test-tools: java .venv/.tools
	@$(MAKE) -s --no-print-directory jars || echo "The tests of event logs on S3 will skip." >&2
	@$(MAKE) -s --no-print-directory schemas || echo "The tests of what the chart renders will skip." >&2

lint: .venv/.tools ## Check style, types, imports, shell scripts, workflows, and the words of the documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/shellcheck $(SCRIPTS)
	@$(call OPTIONAL,actionlint) actionlint -shellcheck $(BIN)/shellcheck -pyflakes=
	@$(call OPTIONAL,vale) vale --no-global $(PAGES)

format: .venv/.tools ## Put the code into its one format
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

docs: .venv-docs/.installed ## Build the documentation as a site, into build/site; a warning fails
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

# A lock that exists keeps its versions, as far as the .in files allow.
COMPILE = ../.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --no-python-downloads \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-strip-extras --no-header $(UPGRADE)

lock: .venv-lock/.installed ## Compile requirements/*.in into *.lock (UPGRADE=--upgrade takes the newest versions)
	cd requirements && $(COMPILE) run.in -o run.lock
	cd requirements && $(COMPILE) build.in -c run.lock -o build.lock
	cd requirements && $(COMPILE) heic.in -c run.lock -o heic.lock
	cd requirements && $(COMPILE) dev.in -c run.lock -c heic.lock -o dev.lock
	cd requirements && $(COMPILE) docs.in -c dev.lock -o docs.lock
	cd requirements && $(COMPILE) lock.in -o lock.lock
	cd requirements && $(COMPILE) engines.in -o engines.lock

jars: .venv/.jars ## Fetch the jars with which Spark writes an event log to S3 (image/pom.xml), by Maven

# Photographs beside the checkout are taken where VERGER_TEST_DATA names no others; without any, fruit is drawn.
BENCH_DATA = $${VERGER_TEST_DATA-$(abspath $(wildcard ../shared/data))}

bench: java .venv/.tools ## Measure all of docs/performance.md, and write it; an hour (ARGS='--only pca', ARGS=--quick)
	@$(BIN)/verger prepare >/dev/null
	VERGER_TEST_DATA="$(BENCH_DATA)" $(BIN)/python bench/performance.py $(ARGS)

bench-scale: java .venv/.tools ## Measure what runs cost as the bucket grows, and draw docs/memory.svg; two hours, 15 GB of disk
	$(BIN)/python bench/scale.py --json build/scale.json
	$(BIN)/python bench/passes.py
	VERGER_TEST_DATA="$(BENCH_DATA)" $(BIN)/python bench/bucket_runs.py
	VERGER_TEST_DATA="$(BENCH_DATA)" $(BIN)/python bench/commits.py 6a3a82e
	VERGER_TEST_DATA="$(BENCH_DATA)" $(BIN)/python bench/whole_runs.py --json build/whole_runs.json --chart docs/memory.svg

image: ## Build the image, by Docker (IMAGE=NAME:TAG, BASE=debian@sha256:..., ARGS='--build-arg WEIGHTS=...'; see docs/image.md)
	@$(MACHINE) docker
	docker build --tag $(IMAGE) --build-arg BASE=$$($(MACHINE) base) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) $(ARGS) .

image-check: .programs/syft .programs/grype ## List what the image contains, and fail on a known vulnerability that a rebuild mends
	@mkdir -p build
	syft scan --quiet docker:$(IMAGE) --output cyclonedx-json=build/sbom.json
	python3 scripts/sbom.py build/sbom.json
	grype --config image/grype.yaml sbom:build/sbom.json

wheels: .venv-lock/.installed ## Tell which packages of the lock have no wheel for 64-bit ARM, by asking the index
	.venv-lock/bin/python scripts/wheels.py

chart: .venv/.installed ## Make the chart's schema and README from the settings, and the output format's page from the manifest
	$(BIN)/python scripts/chart.py
	$(BIN)/python scripts/output_format.py

schemas: build/schemas/.made ## Make the schemas by which tests judge the chart, from Kubernetes' Go modules

programs: .programs/.built ## Get the programs of tests and lint that are not on the PATH, mostly by Go and a C compiler; minutes

kind: ## A run on Kubernetes on this machine: kind, operator, store, photographs, image, chart; reuses what is there
	@scripts/kind up
	@scripts/kind run

e2e: java .venv/.tools ## Run the tests on that cluster (made where it is missing) and of the image
	@$(MAKE) -s --no-print-directory jars
	@scripts/kind up
	$(PYTEST) tests/e2e

clean: ## Remove all that make has made: .venv, programs, sample, out, caches
	rm -rf .venv .venv-docs .venv-lock .programs sample out build .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf job/verger.egg-info
	find job tests -name __pycache__ -type d -prune -exec rm -rf {} +

java:
	@$(MACHINE) java

# .venv holds what the lock says and nothing else: a changed lock makes it anew.
.venv/.locked: requirements/build.lock requirements/run.lock
	@python=$$($(MACHINE) python) && echo "$$python -m venv --clear .venv" && "$$python" -m venv --clear .venv
	$(PIP) -r requirements/build.lock
	$(PIP) --no-build-isolation -r requirements/run.lock
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml job/verger/__init__.py
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.tools: .venv/.installed requirements/dev.lock
	$(PIP) --no-build-isolation -r requirements/dev.lock
	@touch $@

# Made anew beside the old ones: no old version stays, and none is lost where Maven fails.
.venv/.jars: image/pom.xml image/jars.sha256 .venv/.locked
	@$(MACHINE) maven
	@rm -rf $(JARS).new
	mvn --quiet --batch-mode --strict-checksums --file image/pom.xml \
		dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(JARS).new
	@cd $(JARS).new && sha256sum --check --strict --quiet $(CURDIR)/image/jars.sha256
	@rm -rf $(JARS) && mv $(JARS).new $(JARS)
	@touch $@

.programs/.built: requirements/programs
	@rm -rf .programs && mkdir .programs
	@[ -z "$$(requirements/programs missing)" ] || $(MACHINE) go
	@requirements/programs build $(CURDIR)/.programs
	@touch $@

.programs/syft .programs/grype: requirements/release-programs
	@$(MACHINE) go
	@mkdir -p .programs
	requirements/release-programs $(CURDIR)/.programs $(@F)

build/schemas/.made: scripts/schemas.py charts/verger/Chart.yaml | .venv/.installed
	@$(MACHINE) go
	$(BIN)/python scripts/schemas.py build/schemas
	@touch $@

.venv-docs/.installed: requirements/docs.lock
	@python=$$($(MACHINE) python) && "$$python" -m venv --clear .venv-docs
	.venv-docs/bin/pip install --quiet --require-hashes -r requirements/docs.lock
	@touch $@

.venv-lock/.installed: requirements/lock.lock
	@python=$$($(MACHINE) python) && "$$python" -m venv --clear .venv-lock
	.venv-lock/bin/pip install --quiet --require-hashes -r requirements/lock.lock
	@touch $@
