# make help lists the targets. Everything runs in .venv, which is created once, and again only if the lock changes.

# requirements: Python 3.11 or newer with the modules for virtual environments (Debian: the package python3-venv)
SUITS := -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do $$p $(SUITS) && echo $$p && break; done)
BIN := .venv/bin
ARGS ?=

# the dataset next to the checkout, if it is there and nothing else is set
ifeq ($(origin FASHION_MNIST_MIRROR),undefined)
ifneq ($(wildcard ../shared/fashion-mnist/*.gz),)
export FASHION_MNIST_MIRROR := $(abspath ../shared/fashion-mnist)
endif
endif

# make train model=ann sets a variable of make, which nothing reads; names in upper case may be environment variables
LOWER := $(addsuffix %,a b c d e f g h i j k l m n o p q r s t u v w x y z)
UNREAD := $(strip $(foreach name,$(filter $(LOWER),$(.VARIABLES)),$(if $(filter command,$(origin $(name))),$(name)=$($(name)))))
$(if $(UNREAD),$(error $(UNREAD): arguments are passed by ARGS="$(UNREAD)"))

.DEFAULT_GOAL := help
.PHONY: help setup train test test-all faults lint audit format reproduce recipes benchmark tensorboard screenshots lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: .venv/complete ## create .venv with the locked versions, if it does not exist

.venv/complete: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) $(SUITS) || { echo "error: '$(PYTHON)' is no Python 3.11 or newer with venv and ensurepip; install one" \
		"(on Debian and Ubuntu with python3-venv), or name it: make PYTHON=/path/to/python3"; exit 1; }
	@echo "creating .venv with the versions of requirements.lock: a few gigabytes, some minutes, once"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

train: .venv/complete ## train the CNN; ARGS="model=ann trainer.max_epochs=3" passes overrides
	$(BIN)/python -m fmnist_lightning data=auto $(ARGS)

test: .venv/complete ## run the tests but those marked slow; ARGS="-k data" passes options to pytest
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 -m "not slow" $(ARGS)
	@echo "not run: the tests marked slow; make test-all runs them, too"

test-all: .venv/complete ## run every test, as .ci/run does
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 $(ARGS)

faults: .venv/complete ## kill runs, fill disks, damage files: the long version, 74 minutes of CPU time; prints a table
	FAULTS=long $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal tests/faults $(ARGS)

lint: .venv/complete ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# pip-audit exits with 1 for a finding and for any failure of its own: only its output distinguishes them
UNREACHABLE := network may be blocking this service|^requests\.exceptions\.(ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|HTTPError: 5)

audit: .venv/complete ## check the locked versions for known vulnerabilities; says so if the advisory service cannot be reached
	@out=$$($(BIN)/pip-audit --disable-pip --no-deps --progress-spinner off -r requirements.lock 2>&1); status=$$?; \
	pins=$$(grep -c == requirements.lock); left=$$(echo "$$out" | grep -c "could not be audited"); \
	if [ $$status != 0 ] && ! echo "$$out" | grep -q "^Found .* known vulnerabilit" && echo "$$out" | grep -qE "$(UNREACHABLE)"; then \
		echo "audit SKIPPED: the advisory service cannot be reached"; exit 0; \
	elif [ $$status = 0 ] && [ $$left = $$pins ]; then \
		echo "audit SKIPPED: the advisory service answers, but knows none of the $$pins packages"; exit 0; \
	fi; \
	echo "$$out" | grep -v "could not be audited"; \
	[ $$left = 0 ] || echo "audit SKIPPED for $$left of $$pins packages: the advisory service does not know them"; \
	exit $$status

format: .venv/complete ## format, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reproduce: .venv/complete ## reproduce the paper, in about two hours on 2 cores; ARGS="reproduce.size=quick" takes 4 minutes
	$(BIN)/python -m fmnist_lightning.reproduce $(ARGS)

recipes: .venv/complete ## train the recipes of the leaderboard, in two hours on 2 cores; ARGS="recipes.size=quick" takes minutes
	$(BIN)/python -m fmnist_lightning.recipes $(ARGS)

benchmark: .venv/complete ## benchmark this machine, ANN and CNN; ARGS="repeats=3 images=12000" is quick
	$(BIN)/python -m fmnist_lightning.benchmark model=ann data=auto $(ARGS)
	$(BIN)/python -m fmnist_lightning.benchmark model=cnn data=auto $(ARGS)

tensorboard: .venv/complete ## browse the runs in outputs/
	$(BIN)/tensorboard --logdir outputs $(ARGS)

screenshots: .venv/complete ## make docs/images again: trains two ANNs; needs chromium
	$(BIN)/python docs/scripts/photo_figure.py
	$(BIN)/python docs/scripts/augmented_images.py
	$(BIN)/python docs/scripts/screenshots.py

lock: ## write the versions of .venv to requirements.lock
	$(BIN)/python -m pip freeze --all --exclude pip --exclude-editable | sed -E '/^(nvidia-|cuda-|triton)/s/$$/ ; sys_platform == "linux"/' > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean: ## remove .venv and caches; outputs/ and data/ are kept
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
