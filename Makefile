# Everything a person or CI does with this checkout. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo test test-integration check format clean

VENV     := .venv
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.installed
PACKAGES := flows tasks stylegallery schemas
# Extra words for pip (a mirror, a CPU build of torch: see CONTRIBUTING.md) and for pytest.
PIP_ARGS    ?=
PYTEST_ARGS ?=
# The interpreter of the environment: python3.11 when there is one, else python3.
PYTHON ?= $(shell for p in python3.11 python3; do \
	"$$p" -c 'import sys' >/dev/null 2>&1 && break; done; echo $$p)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with the versions of requirements.lock (again only when they change)

$(STAMP): pyproject.toml requirements.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "StyleGallery needs Python 3.11 or newer, and '$(PYTHON)' is not that." \
	       "Install it, or name one: make install PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	# torch first: it is the one package whose build (CPU, CUDA) you may want to choose.
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) "$$(grep '^torch==' requirements.lock)"
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -r requirements.lock
	# No build isolation: hatchling is in the lock, so nothing unpinned is fetched here.
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## restyle the bundled photos on this machine; the report lands in demo-out/
	$(BIN)/stylegallery demo --out demo-out

test: install ## the tests but for those below; PYTEST_ARGS="-m 'not slow'" for the quick ones
	$(BIN)/python -m pytest -m "not integration" $(PYTEST_ARGS)

test-integration: install ## a real Prefect server, and every command of the two READMEs
	$(BIN)/python -m pytest -m integration $(PYTEST_ARGS)

check: install ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(addprefix -p ,$(PACKAGES))
	$(BIN)/lint-imports --no-cache

format: install ## let ruff put files in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches, builds and demo-out/; the environment stays
	rm -rf build dist demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
