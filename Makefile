# Menagerie on one machine. `make help` lists what there is.
# The environment is made once, when it is missing; remove it with `make clean-env` to renew it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
HERE := --cluster inline

.PHONY: help env demo test test-fast check clean clean-env
.DEFAULT_GOAL := help

help:
	@echo "make demo       starter animals -> trained model -> sticker pack, in demo/ (about 8 minutes)"
	@echo "make test       every test, the slow ones too"
	@echo "make test-fast  the quick tests"
	@echo "make check      format, lint and types"
	@echo "make clean      remove demo/ and caches; make clean-env removes the environment"

env: $(READY)

# No prerequisites on purpose: an environment that exists is never touched.
$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Menagerie needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.11 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "no venv module: apt-get install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/python jobs/prepare.py $(HERE) --source starter --size-px 32 --out demo/data
	$(BIN)/python jobs/train.py $(HERE) --preset starter --data demo/data --out demo/run
	$(BIN)/python jobs/sample.py $(HERE) --run demo/run --per-class 12 --out demo/samples
	$(BIN)/python jobs/export.py $(HERE) --samples demo/samples --name "Starter animals" \
		--noise-levels 25 --out demo/pack
	@echo
	@echo "contact sheet  $(CURDIR)/demo/samples/contact_sheet.png"
	@echo "sticker pack   $(CURDIR)/demo/pack.zip"
	@echo "open this      $(CURDIR)/demo/pack/index.html"

test: $(READY)
	$(BIN)/python -m pytest

test-fast: $(READY)
	$(BIN)/python -m pytest -m "not slow and not slurm"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --strict slurm/devcluster.py

clean:
	rm -rf demo build .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-env:
	rm -rf $(VENV)
