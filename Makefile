# `make demo` and `make test` do all set-up themselves: they need Python 3.11, pip and a C compiler.
PYTHON ?= python3.11
BIN = .venv/bin

.PHONY: demo test docs venv format

demo: venv
	$(BIN)/nonlocalnet demo --out demo

test: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	# a thread each: as many test processes as there are cores, four at the most (2 GiB each)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile
	$(BIN)/python tests/contracts/wheel.py

docs: venv
	$(BIN)/python docs/tools/floors.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

venv: .venv/complete

.venv/complete: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
