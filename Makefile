# Menagerie on one machine. `make help` lists what there is.
# The environment is made once, when it is missing; remove it with `make clean-env` to renew it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := core curation_app exporters jobs
HERE := --cluster inline
# make test AT_ONCE="-n 2": files side by side, those on the one cluster in one line.
AT_ONCE ?=
# Threads that wait for each other sleep: spinning, two trainings side by side on two cores slow
# each other eight times. Side by side, each computes on one.
TEST := OMP_WAIT_POLICY=PASSIVE $(if $(AT_ONCE),OMP_NUM_THREADS=1) $(BIN)/python -m pytest $(AT_ONCE)

# Modules are kept compiled, whatever the shell says: compiling torch's and diffusers' anew at each
# start costs seconds a process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env demo test test-fast check clean clean-env
.DEFAULT_GOAL := help

help:
	@echo "make demo       starter animals -> trained model -> sticker pack, in demo/ (about 9 minutes)"
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
	@# Left to itself, basicsr builds beside a second torch and brings a second OpenCV.
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
			--constraint constraints.txt setuptools wheel && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
			--constraint constraints.txt --no-build-isolation --no-deps basicsr; \
	else echo "train_upscaler needs basicsr, which Python 3.13 cannot build: take 3.11 or 3.12"; fi
	@# pip compiles on one core; a few of the packages carry templates that are no Python.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib $(PACKAGES) >/dev/null 2>&1 || true
	@touch $@

demo: $(READY)
	$(BIN)/python jobs/prepare.py $(HERE) --source starter --size-px 32 --out demo/data
	$(BIN)/python jobs/train.py $(HERE) --preset starter --data demo/data --out demo/run
	$(BIN)/python jobs/sample.py $(HERE) --run demo/run --per-class 12 --out demo/samples
	$(BIN)/python jobs/export.py $(HERE) --samples demo/samples --name "Starter animals" \
		--noise-levels 25 --upscaler starter --platforms all --out demo/pack
	@echo
	@echo "contact sheet  $(CURDIR)/demo/samples/contact_sheet.png"
	@echo "sticker pack   $(CURDIR)/demo/pack.zip"
	@echo "open this      $(CURDIR)/demo/pack/index.html"

test: $(READY)
	$(TEST)

test-fast: $(READY)
	$(TEST) -m "not slow and not slurm"

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
