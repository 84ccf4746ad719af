# make demo       reconstruct the bundled clip three ways; writes demo/ (open demo/index.html)
# make test       lint, types and the tests
# make coverage   which lines of src the tests run, some of the kernels as Python; takes minutes
# make bench      every benchmark; writes bench/RESULTS.md

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test lint coverage bench clean

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

# Kernels run as Python take their time, and those of vector instructions cannot: these few cover the others.
KERNEL_TESTS := tests/optim/test_rows.py tests/audio/test_phase.py tests/nnls/test_lsq_linear.py \
    tests/nnls/test_nearest.py tests/nnls/test_banded.py::test_the_projection_alone -k 'not too_graded'

coverage: export OMP_NUM_THREADS = 1
coverage: $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	INBOUNDS_UNCHECKED=1 $(BIN)/coverage run -m pytest tests/unchecked
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run -m pytest -W ignore $(KERNEL_TESTS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --show-missing --fail-under=95

bench: $(READY)
	$(BIN)/pip install -q -c constraints.txt -e ".[audio,dev,bench]"
	$(BIN)/python bench/run.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[audio,dev]"
	touch $@

clean:
	rm -rf $(VENV) demo report dist build
