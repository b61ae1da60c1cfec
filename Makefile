# Every target works from a fresh clone on Debian 12 (as root, or with the packages it names installed already).
# `make` alone lists them.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.complete
PEERS := $(PYTHON) -m tests.peers.install
# Half of the tests wait for programs, so two run at a time; those of one file share its servers.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test interop interop-full fuzz lint check bench bench-gateway bench-p2p compatibility images-doc peers peers-demo peers-debian peers-go peers-rust peers-nydus constraints

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with .venv/bin/dragonhook (a second run does nothing)

$(READY): pyproject.toml docker/constraints.txt
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "setup: Python or its venv module is missing; asking apt-get for it"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv > /dev/null; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("setup: Python 3.11 or newer is needed")'
	@echo "setup: installing the Python packages of docker/constraints.txt (half a minute, most of it downloads)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install -q --disable-pip-version-check -c docker/constraints.txt -e '.[dev,postgres]'
	@touch $@

demo: setup peers-demo ## push a real image and watch it become a signed, lazily mountable one (KEEP=1 leaves it up)
	@$(VENV)/bin/python -m tests.demo

test: setup peers-debian peers-go ## all tests but those that need the Rust peers
	$(VENV)/bin/pytest $(SIDE_BY_SIDE) -m "not interop and not full"

interop: setup peers-debian peers-go peers-rust ## the tests against nydusd, nydus-image and Dragonfly's peers
	$(VENV)/bin/pytest -m "interop and not full"

interop-full: setup peers-debian peers-go peers-rust ## … and what takes too long for every day: 20 GiB, 10^6 files
	$(VENV)/bin/pytest -m full

fuzz: setup ## hold the converter against 200,000 spoilt inputs (10 to 20 minutes on two cores)
	$(VENV)/bin/python -m tests.fuzz --cases 200000 --seed 1

lint: setup ## format, lint and strict types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

check: lint ## the fast gate before a commit: lint, and the tests that need no root, network or peer
	$(VENV)/bin/pytest -q $(SIDE_BY_SIDE) -m "not peers and not interop and not root and not full"

bench: setup peers-demo ## measure the speed of a conversion
	@$(VENV)/bin/python -m tests.benchmarks

bench-gateway: setup peers-debian ## measure the gateway beside nginx, and write docs/performance-gateway.md (2 minutes)
	@$(VENV)/bin/python -m tests.benchmarks.gateway

bench-p2p: setup peers-debian peers-go peers-rust ## how long N nodes wait for an image (49 minutes; needs root); writes docs/p2p-performance.md
	$(VENV)/bin/python -m tests.benchmarks.p2p --page docs/p2p-performance.md $(BENCH_P2P)

compatibility: setup peers-debian peers-go peers-nydus ## measure who reads our images, and write docs/compatibility.md
	@$(VENV)/bin/python -m tests.interop.compat

images-doc: setup peers-debian peers-go peers-nydus ## build a dozen real images, convert and run them, and write docs/images.md
	@$(VENV)/bin/python -m tests.real_images

peers: peers-debian peers-go peers-rust ## install every real program that tests run against, if missing

peers-demo: ## … those of Debian that `make demo` needs
	@$(PEERS) demo-debian

peers-debian: ## … all of Debian
	@$(PEERS) debian

peers-go: ## … the Go programs (about 10 minutes the first time)
	@$(PEERS) go

peers-rust: ## … the Rust programs (half an hour the first time, nearly all of it Dragonfly's client)
	@$(PEERS) rust

peers-nydus: ## … of them only nydusd and nydus-image (about 4 minutes the first time)
	@$(PEERS) nydus

constraints: setup ## write docker/constraints.txt anew from what .venv has
	@{ echo '# Exact versions of everything that is installed; written by `make constraints`.'; \
	   $(VENV)/bin/pip freeze --disable-pip-version-check --exclude-editable; } > docker/constraints.txt
