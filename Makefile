# Two commands matter: `make demo` and `make test`. Each sets up everything it needs.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test simulate lint types check bench clean

demo: $(VENV)/.installed
	$(BIN)/vicinal run topologies/binary-tree-31.toml

test: $(VENV)/.installed
	$(BIN)/python -m pytest

# 1,000 networks under storms, in virtual time: minutes. SEEDS=0-9999 for a night.
SEEDS ?= 0-999
simulate: $(VENV)/.installed
	$(BIN)/vicinal simulate --seeds $(SEEDS) --jobs $$(nproc 2>/dev/null || echo 2)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

check: test lint types

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "vicinal needs Python 3.11 or newer on PATH" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[plot,compose,fast,test,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
