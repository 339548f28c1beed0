# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= runs/demo
READY := $(VENV)/.installed
# the blob store that tests run against; Node.js comes with the Python packages
AZURITE := 3.35.0
SPINE_BRIEF := --max_epochs 10 --patience 10 --learning_rate 0.003 --roi_size "[64,64,64]" --repeats 6 --amp true
LUNG_BRIEF := --max_epochs 12 --patience 12 --image_size 128 --learning_rate 0.001 --amp true

.PHONY: help install demo test test-long lint types clean

help:
	@echo "make demo       set up, train briefly on the sample data, segment the sample CTs with both bundles"
	@echo "make test       set up, run the test suite"
	@echo "make test-long  the tests that take minutes"
	@echo "make lint       ruff, and imports that go down only"
	@echo "make types      mypy"

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	PATH="$(abspath $(BIN)):$$PATH" npm install --silent --no-audit --no-fund --prefix $(VENV)/node azurite@$(AZURITE) \
	  || echo "azurite could not be installed; its tests will be skipped"
	touch $@

demo: $(READY)
	@for bundle in spine lung_ct; do \
	  if [ ! -f bundles/$$bundle/models/model.pt ] && [ ! -f $(DEMO)/$$bundle-training/.finished ]; then \
	    echo "$$bundle has no trained weights yet: training briefly on the sample data"; \
	    if [ $$bundle = spine ]; then brief='$(SPINE_BRIEF)'; else brief='$(LUNG_BRIEF)'; fi; \
	    eval "$(BIN)/radseg train $$bundle --output $(DEMO)/$$bundle-training --overwrite $$brief" || exit 1; \
	    touch $(DEMO)/$$bundle-training/.finished; \
	  fi; \
	done
	@set -f; for bundle in spine lung_ct; do \
	  weights=$(DEMO)/$$bundle-training/model.pt; size=""; \
	  if [ -f bundles/$$bundle/models/model.pt ]; then weights=bundles/$$bundle/models/model.pt; \
	  elif [ $$bundle = lung_ct ]; then size="--image_size 128"; else size='--roi_size [64,64,64]'; fi; \
	  $(BIN)/radseg segment $$bundle sample_data/$$bundle/dicom sample_data/$$bundle/imagesTr --output $(DEMO)/$$bundle \
	    --weights $$weights $$size --overwrite || exit 1; \
	done
	@echo "masks, statistics and previews are in $(DEMO)/spine and $(DEMO)/lung_ct; open a preview.png"
	@echo "(minutes of training on phantoms: spine is recognisable, lung_ct needs far longer)"

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

clean:
	rm -rf $(VENV) .typecheck build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(DEMO)
