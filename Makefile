# Two commands matter: `make demo` and `make test`. Each sets up everything it needs.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test simulate lint types check docs bench images demos docker-demo clean

demo: $(VENV)/.installed
	$(BIN)/vicinal run topologies/binary-tree-31.toml

# A file's tests stay together: they share runs that take seconds.
test: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

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

# The documentation, into site/: any warning is an error. Nothing is fetched. To read it: site/index.html.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

# The two images of docker/Dockerfile. Needs a Docker engine, and the network while they are built.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images:
	docker build --file docker/Dockerfile --target agent --tag vicinal-agent:$(VERSION) .
	docker build --file docker/Dockerfile --target recorder --tag vicinal-recorder:$(VERSION) .

# The demos in docker/, written again, with new secrets, which are never committed.
demos: $(VENV)/.installed
	$(BIN)/vicinal compose docker/tree-7/scenario.toml --out docker/tree-7 --build ../..
	$(BIN)/vicinal compose docker/er-31/scenario.toml --out docker/er-31 --build ../..
	$(BIN)/vicinal compose docker/hosts-1000/scenario.toml --out docker/hosts-1000 --build ../.. --hosts 2

# One of them, to its end: make docker-demo DEMO=er-31
DEMO ?= tree-7
docker-demo: demos
	cd docker/$(DEMO) && docker compose up --exit-code-from recorder; \
	    code=$$?; docker compose down --volumes; exit $$code

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "vicinal needs Python 3.11 or newer on PATH" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[plot,compose,check,page,fast,test,docs,dev]'
	@touch $@

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
