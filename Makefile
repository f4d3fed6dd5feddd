# make demo | test | check | bench | clean        (make demo FRESH=1 starts the demo over)
PYTHON ?= python3
BIN := .venv/bin
# ViSQOL and PESQ are compiled at install; where that is impossible, evaluation goes without them and says so.
CAN_COMPILE := $(and $(shell command -v g++),$(wildcard $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h))
comma := ,
EXTRAS := dev$(if $(CAN_COMPILE),$(comma)quality)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo test check format bench clean

install: .venv/installed

# One pip call with every pin: a second call could move a version that the first had settled.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --progress-bar off --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

demo: install
	$(BIN)/python -m t2a.demo $(if $(FRESH),--fresh)

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check --summary=none
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m pytest tests/benchmarks -m '' --benchmark-only --benchmark-columns=min,median,rounds

clean:
	rm -rf .venv demo build *.egg-info
