# `make demo` and `make test` each suffice on a machine with Python 3.11, git and make.
PYTHON ?= python3.11
ENV := .venv
READY := $(ENV)/.ready
PYTEST := $(ENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The tests start many processes: compiled modules are kept even where the surroundings say otherwise.
test test-slow: export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-slow lint tables house clean

demo: $(READY)
	$(ENV)/bin/gossamer medseg demo

test: $(READY)
	$(PYTEST) -m "not slow"

test-slow: $(READY)
	$(PYTEST) -m slow

lint: $(READY)
	$(ENV)/bin/ruff check .
	$(ENV)/bin/ruff format --check .
	$(ENV)/bin/mypy

tables: $(READY)
	$(ENV)/bin/python tools/make_tables.py

$(READY): requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(ENV)
	$(ENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(ENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--config-settings editable_mode=compat --editable .
	touch $@

house: $(READY)
	$(ENV)/bin/python tools/house.py docs/images/house.png

clean:
	rm -rf $(ENV) build dist *.egg-info
