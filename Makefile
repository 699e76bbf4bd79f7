# Runs as root in a bare Debian 12 or 13 with nothing but make and apt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# What makes the Python environment, and the library that the unit tests ask for GVariants; what the tool, the other
# tests and the demo run; what boots a machine. The same names on each release.
TOOLS_python := python3 python3-venv ca-certificates libglib2.0-bin
TOOLS_system := ostree bubblewrap cpio mmdebstrap debian-archive-keyring e2fsprogs acl attr dpkg-dev gnupg iproute2 mount \
                procps shellcheck
TOOLS_machine := $(if $(filter aarch64,$(shell uname -m)),qemu-system-arm,qemu-system-x86)

# Not whatever python3 comes first on PATH: Debian's is the one that the tool has to run with.
PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
# When a step was done last: a second run costs nothing.
TOOLS_STAMP := build/system.tools
PYTHON_STAMP := $(VENV)/setup.stamp
BINARY := dist/apt-ostree
CODE := apt_ostree fixtures scripts tests

# Directories, too: a removed file changes nothing else.
SOURCES := $(shell find apt_ostree -name __pycache__ -prune -o -print) pyproject.toml LICENSE scripts/build_binary.py
# Whatever starts with a shell's #! line, wherever it lies; not what a run made.
SHELL_SCRIPTS = $(shell grep -rlIE '^\#! ?/(usr/)?bin/(env )?(ba|da)?sh' .ci examples $(CODE))

# In memory where there is enough: the tests make hundreds of small sysroots, and a disk's syncs would rule.
TEMPORARY := $(shell [ "$$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -gt 6000000 ] 2>/dev/null \
	&& echo /dev/shm || echo /var/tmp)

.PHONY: help setup demo lint check check-unit mutants test test-unit test-integration test-integration-all \
	test-faults test-faults-all test-fidelity test-vm test-release fuzz torture fidelity fidelity-crowd fidelity-own shuffle life \
	test-life manual binary clean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.* ## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r target text; do \
		printf '  make %-18s %s\n' "$$target" "$$text"; \
	done

setup: $(TOOLS_STAMP) $(PYTHON_STAMP) ## Install the system tools and a Python environment in .venv

demo: setup $(BINARY) ## Compose Debian 13, lay packages over it, roll back, all below build/demo
	@examples/demo.sh

lint: setup ## Check style and types of the Python code, and the shell scripts
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy apt_ostree scripts tests
	shellcheck $(SHELL_SCRIPTS)

check: setup ## What every commit has to pass: lint and the unit tests, in parallel
	$(MAKE) --no-print-directory -j2 -O lint check-unit

check-unit:
	$(BIN)/python -m scripts.mutants --check
	$(BIN)/pytest -q -n auto tests/unit

mutants: setup ## Make 40 small mistakes in a copy; list those that no unit test notices (N=20 SEED=1: 20 others)
	nice $(BIN)/python -m scripts.mutants $(if $(N),--random $(N)) $(if $(SEED),--seed $(SEED))

test: ## Run the tests that CI runs, also when some fail, and list the times
	@+scripts/run-stages test-unit test-integration test-faults test-fidelity test-life test-vm

test-unit: $(PYTHON_STAMP) ## Run the tests that start no other program and need no root
	$(BIN)/pytest -n auto tests/unit tests/fuzz

FUZZ_SECONDS ?= 1800
fuzz: $(PYTHON_STAMP) ## Try damaged input on every parser for FUZZ_SECONDS=1800; keeps what fails in tests/fuzz/seeds
	nice $(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# Where two workers run, each takes half of the tests, and of the other's what is left at the end.
PARALLEL := -n auto --dist worksteal
# Of a stage, the other cases of what quicker tests prove: the targets that end in -all have them. pytest counts them.
CHOSEN = -m 'not slow'
TESTS ?= tests/integration
test-integration: setup $(BINARY) ## Run the tests with the real ostree, dpkg, apt and bwrap (TESTS="FILE ...")
	FAULTS_WORKERS=1 PYTEST_DEBUG_TEMPROOT=$(TEMPORARY) $(BIN)/pytest $(PARALLEL) $(CHOSEN) $(TESTS)

test-faults: setup $(BINARY) ## Kill commands, fill disks, damage files: old state or new (FAULTS_SEED=N repeats a run)
	FAULTS_WORKERS=1 PYTEST_DEBUG_TEMPROOT=$(TEMPORARY) $(BIN)/pytest $(PARALLEL) $(CHOSEN) tests/faults

test-integration-all: ## The integration tests with the slow ones, which CI leaves out
	@$(MAKE) --no-print-directory test-integration CHOSEN=

test-faults-all: ## The faults with the slow ones
	@$(MAKE) --no-print-directory test-faults CHOSEN=

INSTANTS ?= 2000
torture: setup $(BINARY) ## Kill INSTANTS=2000 installs at random, and other commands; takes hours
	$(BIN)/python -m tests.faults --instants $(INSTANTS) $(if $(SEED),--seed $(SEED)) --place $(TEMPORARY)

test-fidelity: setup $(BINARY) ## Compare layers of seven packages with what apt-get makes
	$(BIN)/pytest -n auto tests/fidelity

# Each with a virtual machine of one processor, which emulation keeps busy; it has 1.5 GB of memory and its disk there.
MACHINES := $(shell awk '/^MemAvailable/ {print ($$2 > 8000000) ? 2 : 1}' /proc/meminfo)
test-vm: setup build/machine.tools $(BINARY) ## Boot layers in a virtual machine (no KVM needed)
	PYTEST_DEBUG_TEMPROOT=$(TEMPORARY) $(BIN)/pytest -n $(MACHINES) --dist loadfile tests/vm

# The other one than this machine's.
RELEASE ?= $(if $(shell grep '^VERSION_CODENAME=trixie' /etc/os-release),bookworm,trixie)
PART ?= some
# Where releases differ: ostree, bubblewrap, dpkg and mount, the sandbox, who stays and for whom there is room.
SOME := $(patsubst %,tests/integration/test_%.py,sandbox retention) tests/faults/test_space.py
test-release: setup ## Run some tests in a bare root of the other Debian (RELEASE=bookworm or trixie; PART=all: all)
	@scripts/test-release $(RELEASE) $(if $(filter all,$(PART)),test,test-unit test-integration TESTS="$(SOME)")

PACKAGES ?= nginx openssh-server
fidelity: setup $(BINARY) ## Compare layers of PACKAGES="..." with what apt-get makes (a,b: together; -a: removed)
	@test -f build/fidelity/repo/config || $(BINARY) compose tree --repo build/fidelity/repo $(MANIFEST)
	$(BIN)/python -m tests.fidelity --repo build/fidelity/repo --ref debian/13/x86_64/minimal \
		--work build/fidelity --apt-ostree $(BINARY) $(if $(DEBCONF),--debconf $(DEBCONF)) -- $(PACKAGES)

CROWD ?= 100000
fidelity-crowd: setup $(BINARY) ## The same of a package of 100,000 files, with the memory that it takes
	@test -f build/fidelity/repo/config || $(BINARY) compose tree --repo build/fidelity/repo $(MANIFEST)
	$(BIN)/python -m tests.fidelity --repo build/fidelity/repo --ref debian/13/x86_64/minimal \
		--work build/fidelity --apt-ostree $(BINARY) --crowd $(CROWD)

fidelity-own: setup $(BINARY) ## Tell which files of /etc scripts of PACKAGES make differently each time, and a layer has
	@test -f build/fidelity/repo/config || $(BINARY) compose tree --repo build/fidelity/repo $(MANIFEST)
	$(BIN)/python -m tests.fidelity.own --repo build/fidelity/repo --ref debian/13/x86_64/minimal \
		--work build/fidelity --apt-ostree $(BINARY) $(PACKAGES)

life: setup $(BINARY) ## Let a plain Debian and ours live the same stories, and compare them (STORY="agent fonts")
	$(BIN)/python -m tests.life --place $(TEMPORARY) $(STORY)

test-life: setup $(BINARY) ## One story, with packages of our own
	PYTEST_DEBUG_TEMPROOT=$(TEMPORARY) $(BIN)/pytest tests/life

shuffle: setup $(BINARY) ## Lay and remove forty packages ten times in random order; nothing may move or be orphaned
	@test -f build/fidelity/repo/config || $(BINARY) compose tree --repo build/fidelity/repo $(MANIFEST)
	APT_OSTREE=$(BINARY) $(BIN)/python -m tests.integration.shuffle --repo build/fidelity/repo \
		--ref debian/13/x86_64/minimal --work build/shuffle

MANIFEST := examples/debian-13-minimal.toml

manual: setup ## Write manual pages and shell completions to build/manual
	$(BIN)/python -m scripts.build_manual build/manual

binary: setup $(BINARY) ## Build dist/apt-ostree, one executable file with all its Python

clean: ## Remove all that make made, the demo's repository and .venv too
	find build -maxdepth 8 -path '*/ostree/deploy/*/deploy/*' -type d -exec chattr -i {} + 2>/dev/null || true
	rm -rf --one-file-system build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find apt_ostree tests scripts -name __pycache__ -prune -exec rm -rf {} +

build/%.tools: Makefile scripts/install-tools
	scripts/install-tools $(TOOLS_$*)
	@mkdir -p $(@D)
	@touch $@

# pip's own configuration says where packages come from.
$(PYTHON_STAMP): pyproject.toml build/python.tools
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(BINARY): $(SOURCES) $(PYTHON_STAMP)
	$(BIN)/python scripts/build_binary.py $@
