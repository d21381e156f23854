# Each target does all of its own set-up; `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory
# Tests call make themselves, which shall not ask this one for a place among its jobs.
unexport MAKEFLAGS MFLAGS
# A dry run calls a make that is called $(MAKE), and could not tell it to run nothing.
MAKE_ALL := $(MAKE)

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.cache/uv/bin/uv)
RUN := $(UV) run --frozen
NAME ?= tracking-operator
# How many processes run a group: most of their time they wait. Each process of the cluster's tests makes a cluster of its own.
STORES_WORKERS ?= 3
CLUSTER_WORKERS ?= 2
E2E_WORKERS ?= 2
TIMES := .cache/times
# The releases of MLflow beside the newest, which `make test` runs.
OLDER_MLFLOWS := 3.16.1 3.17.2
# How often a failed test on a store or a cluster is run again; the summary names those that needed it.
RERUNS ?= 0
# The cluster of the tests with pods: another one than that of the other tests lets both groups run at once.
E2E_CLUSTER ?= $(or $(TRACKING_OPERATOR_TEST_CLUSTER),tracking-operator-test)-e2e

# The machine's own Python: interpreters are no packages of a registry.
export UV_PYTHON_DOWNLOADS := never
# Certificate authorities that the machine trusts, for example a company's.
export UV_SYSTEM_CERTS ?= true
export UV

##@ Start here

.PHONY: help
help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: prepare-demo ## A cluster, the operator, two teams' servers on one PostgreSQL and one bucket, and trainings
	@$(RUN) python -m dev.demo

.PHONY: demo-gitops
demo-gitops: prepare-demo ## The same by commits: Argo CD makes the servers of two teams from a Git repository
	@$(RUN) python -m dev.gitops demo

.PHONY: example
example: prepare ## In the demo's cluster: docs/tutorials/wine.md line by line, data by DVC and runs by MLflow
	@$(RUN) python -m dev.example --name $(NAME)

.PHONY: demo-down
demo-down: prepare ## Remove what `make demo` or `make demo-gitops` made
	@$(RUN) python -m dev.demo down

##@ Development cluster (NAME=tracking-operator)

.PHONY: cluster-up
cluster-up: prepare-cluster ## Make the cluster, or keep a running one; kubeconfig in .cluster/kubeconfig
	@$(RUN) python -m dev.cluster up --name $(NAME)

.PHONY: cluster-argocd
cluster-argocd: prepare-images ## The cluster with an Argo CD that knows tracking servers, and a Git server
	@$(RUN) python -m dev.gitops up --name $(NAME)

.PHONY: warm
warm: prepare-images prepare-stores ## Build what the cluster and its images are made of, which is done once per machine
	@$(RUN) python -m dev.warm --tests

.PHONY: cluster-down
cluster-down: prepare ## Remove the cluster and everything that it made on this machine
	@$(RUN) python -m dev.cluster down --name $(NAME)

.PHONY: cluster-status
cluster-status: prepare ## Say whether the cluster runs, and where its kubeconfig is
	@$(RUN) python -m dev.cluster status --name $(NAME)

##@ Operator

.PHONY: images
images: prepare-images ## Build the images and print their sizes
	@$(RUN) python -m dev.images

.PHONY: deploy
deploy: prepare-images ## Build the images, load them and install the operator in the cluster
	@$(RUN) python -m dev.deploy up --name $(NAME)

.PHONY: undeploy
undeploy: prepare ## Take the operator out of the cluster; refused while tracking servers exist
	@$(RUN) python -m dev.deploy down --name $(NAME)

.PHONY: generate
generate: prepare ## Write crds/, the generated documentation, Argo CD's scripts, alerts and dashboard, and the Helm chart as kustomize has the manifests
	@$(RUN) python -m tracking_operator.api.generate --output .
	@$(RUN) python -m dev.argocd
	@$(RUN) python -m dev.monitoring
	@$(RUN) python -m dev.chart

.PHONY: dist
dist: prepare ## Write dist/: install.yaml, and the package of the Helm chart
	@$(RUN) python -m dev.chart --dist

.PHONY: plugin
plugin: prepare ## Build `kubectl tracking` as one file in dist/; RELEASE_URL=… writes the manifest for krew, too
	@$(RUN) python -m dev.plugin $(if $(RELEASE_URL),--release-url "$(RELEASE_URL)") $(if $(HOMEPAGE),--homepage "$(HOMEPAGE)")

.PHONY: docs
docs: prepare ## Build the documentation as a site into site/; a broken link or anchor is an error
	@$(RUN) python -m dev.site

.PHONY: release
release: prepare $(if $(filter false,$(IMAGES)),,prepare-images) ## Write dist/VERSION/ with all of a release; VERSION=1.2.3 [REGISTRY=… RELEASE_URL=… HOMEPAGE=…] [IMAGES=false|only]
	@$(RUN) python -m dev.release "$(VERSION)" $(if $(IMAGES),--images "$(IMAGES)") $(if $(REGISTRY),--registry "$(REGISTRY)") \
	  $(if $(RELEASE_URL),--release-url "$(RELEASE_URL)") $(if $(HOMEPAGE),--homepage "$(HOMEPAGE)")

.PHONY: next-version
next-version: prepare ## After a release: move its notes into CHANGELOG.md and name VERSION=1.2.4 everywhere
	@$(RUN) python -m dev.release.next_version "$(VERSION)"

.PHONY: merge-keys
merge-keys: prepare-cluster ## Write kube/merge_keys.py from the OpenAPI of the pinned Kubernetes
	@$(RUN) python -m dev.merge_keys

##@ Quality

.PHONY: test
test: ## Everything that CI runs, three groups at a time: most tests wait for something; ends with the time of each
	@$(MAKE_ALL) -j3 test-e2e test-cluster lint check-generated test-unit test-stores
	@echo && cat $(TIMES)/*

.PHONY: lint
lint: prepare ## Check style, types, and the links of the documentation
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) python -m dev.site --check
	@$(RUN) mypy

.PHONY: format
format: prepare ## Put style right where that is possible
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

.PHONY: check-generated
check-generated: prepare ## Fail when generated files are not what the code generates
	@$(RUN) python -m tracking_operator.api.generate --output . --check
	@$(RUN) python -m dev.argocd --check
	@$(RUN) python -m dev.monitoring --check

.PHONY: test-unit
test-unit: prepare ## No I/O: builders, naming, plans, queues
	@$(call group,unit,-n 2)

.PHONY: test-stores
test-stores: prepare-stores ## The stores, on real ones
	@$(call group,stores,-n $(STORES_WORKERS) --dist loadfile --reruns $(RERUNS))

.PHONY: test-cluster
test-cluster: prepare-cluster prepare-shells ## The operator on real API servers
	@$(call group,cluster,-n $(CLUSTER_WORKERS) --dist loadfile --reruns $(RERUNS))

.PHONY: test-e2e
test-e2e: prepare-e2e ## Real pods, the real operator image, a real browser
	@export TRACKING_OPERATOR_TEST_CLUSTER=$(E2E_CLUSTER); $(call group,e2e,-n $(E2E_WORKERS) --dist loadfile --reruns $(RERUNS))

.PHONY: matrix
matrix: prepare-stores ## What depends on PostgreSQL on every version of it, and what depends on MLflow with every release on offer
	@export TRACKING_OPERATOR_TEST_POSTGRES="15 16 17 18" TRACKING_OPERATOR_TEST_NAMES=10000; \
	  $(RUN) pytest tests/stores/postgres -n $(STORES_WORKERS) --dist loadfile
	@for version in $(OLDER_MLFLOWS); do \
	  TRACKING_OPERATOR_TEST_MLFLOW=$$version $(RUN) pytest tests/stores -m each_mlflow -n $(STORES_WORKERS) --dist loadfile || exit 1; done

.PHONY: campaign
campaign: prepare-e2e ## What takes long: chaos, five replicas, every page in a browser, Argo CD; writes docs/contributing/campaign.md
	@export TRACKING_OPERATOR_TEST_CLUSTER=$(E2E_CLUSTER); mkdir -p .cache; \
	  TRACKING_OPERATOR_TEST_LARGE_MIB=2048 $(RUN) pytest tests/stores/test_large_artifacts.py --junitxml=.cache/campaign-large.xml; \
	  TRACKING_OPERATOR_TEST_SETTLED=600 $(RUN) pytest tests -m campaign --junitxml=.cache/campaign.xml; \
	  $(RUN) python -m dev.campaign .cache/campaign-large.xml .cache/campaign.xml

.PHONY: test-isolation
test-isolation: prepare-e2e ## Every attempt of one team against another, on real servers, as a table; ISOLATION_TABLE=FILE writes it
	@export TRACKING_OPERATOR_TEST_CLUSTER=$(E2E_CLUSTER) TRACKING_OPERATOR_TEST_ISOLATION=true; \
	  $(RUN) pytest tests/e2e/test_isolation.py -s

.PHONY: audit
audit: prepare ## Known vulnerabilities of all locks, from https://osv.dev; ends with 3 where it does not answer
	@$(RUN) python -m dev.vulnerabilities

.PHONY: check-upstream
check-upstream: prepare ## Which releases are newer than what is pinned, and what to do; ends with 3 where an index does not answer
	@$(RUN) python -m dev.upstream || [ $$? = 4 ] || exit 3

# `make bench scale idle`: the words after it are measures; without any, all are made.
ifeq (bench,$(firstword $(MAKECMDGOALS)))
MEASURES := $(filter-out bench,$(MAKECMDGOALS))
$(MEASURES):
	@:
endif

.PHONY: bench
bench: prepare-images ## Measure, and write the report; `make bench scale` measures one thing
	@$(RUN) python -m bench $(MEASURES) $(if $(MEASURES),--write)

# Set-up

.PHONY: prepare prepare-cluster prepare-images prepare-stores prepare-shells prepare-demo prepare-e2e
prepare: has-python
	@$(PYTHON) dev/prepare.py

prepare-cluster: has-python
	@$(PYTHON) dev/prepare.py cluster

prepare-images: has-python
	@$(PYTHON) dev/prepare.py cluster images

prepare-stores: has-python
	@$(PYTHON) dev/prepare.py stores postgres

prepare-shells: has-python
	@$(PYTHON) dev/prepare.py shells

prepare-demo: has-python
	@$(PYTHON) dev/prepare.py cluster images postgres

prepare-e2e: has-python
	@$(PYTHON) dev/prepare.py cluster images stores postgres browser

.PHONY: has-python
has-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v $(PYTHON) >/dev/null; then \
	    echo "  install Debian packages: python3 python3-venv" >&2; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes python3 python3-venv >/dev/null; \
	  else echo "Please install Python 3.11 or newer, or name it: make PYTHON=python3.12." >&2; exit 1; fi; }

# The tests of one folder, with the ten slowest of them; how long all took is kept for the end of `make test`.
# `make test-stores TESTS=tests/stores/s3` runs a part of the group.
group = started=$$(date +%s); $(RUN) pytest $(or $(TESTS),tests/$(1)) -m 'not campaign' --durations=10 $(2) && mkdir -p $(TIMES) && \
  printf '  %-8s %5d s\n' $(1) $$(($$(date +%s) - started)) > $(TIMES)/$(1)
