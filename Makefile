# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= runs/demo
READY := $(VENV)/.installed
LABEL_READY := $(VENV)/.label-installed
# the blob store that tests run against; Node.js comes with the Python packages
AZURITE := 3.35.0
BUNDLES := spine lung_ct lung_xray pelvis_xray

.PHONY: help install label-env demo $(BUNDLES:%=demo-%) test test-long lint types bench clean

help:
	@echo "make demo       set up, segment the sample data with the weights that ship with all four bundles"
	@echo "make test       set up, run the test suite"
	@echo "make test-long  the tests that take minutes"
	@echo "make label-env  sets up the annotation server too (radseg label start)"
	@echo "make lint       ruff, and imports that go down only"
	@echo "make types      mypy"
	@echo "make bench      the engine against stock MONAI on a real CT: about an hour on two cores (DATA=folder)"

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	PATH="$(abspath $(BIN)):$$PATH" npm install --silent --no-audit --no-fund --prefix $(VENV)/node azurite@$(AZURITE) \
	  || echo "azurite could not be installed; its tests will be skipped"
	touch $@

# MONAI Label without its own requirements: they name packages that fail beside torch's CPU build, pydicom 3 or numpy 2
label-env: $(LABEL_READY)

$(LABEL_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[label]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps monailabel
	touch $@

demo: $(BUNDLES:%=demo-%)
	@echo "masks, statistics and previews are below $(DEMO); open a preview.png"

$(BUNDLES:%=demo-%): demo-%: $(READY)
	$(BIN)/radseg segment $* sample_data/$*/dicom sample_data/$*/imagesTr --output $(DEMO)/$* --overwrite

test: $(READY)
	$(BIN)/python -m pytest -m "not long" -n 2 --dist worksteal

test-long: $(READY)
	$(BIN)/python -m pytest -m long

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# the packages live in folders without the prefix `radseg`; type checkers see the package through these links
types: $(READY)
	mkdir -p .typecheck/radseg
	for package in networks transforms pipelines bundles sample_data; do ln -sfn ../../$$package .typecheck/radseg/$$package; done
	$(BIN)/mypy

# NNUNET=python of nnU-Net's own environment adds it as a third side, see benchmarks/README.md
DATA ?= ../shared/data
bench: $(READY)
	$(BIN)/python benchmarks/engine --data $(DATA) $(if $(NNUNET),--nnunet-python $(NNUNET))

clean:
	rm -rf $(VENV) .typecheck build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(DEMO)
