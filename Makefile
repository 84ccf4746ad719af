# make demo    reconstruct the bundled clip three ways; writes demo/ (open demo/index.html)
# make test    lint, types and the tests
# make bench   every benchmark; writes bench/RESULTS.md

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test lint bench clean

demo: $(READY)
	$(BIN)/inbounds demo -o demo

# One thread for each of the two workers: more only wait for one another.
test: export OMP_NUM_THREADS = 1
test: lint
	$(BIN)/python -m pytest -n 2
	INBOUNDS_UNCHECKED=1 $(BIN)/python -m pytest -n 2 tests/unchecked

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(READY)
	$(BIN)/pip install -q -c constraints.txt -e ".[audio,dev,bench]"
	$(BIN)/python bench/run.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[audio,dev]"
	touch $@

clean:
	rm -rf $(VENV) demo report dist build
