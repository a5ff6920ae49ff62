# `make demo` and `make test` set everything up first: a .venv, made when absent or when requirements.txt changed.
PYTHON ?= python3
VENV ?= .venv
STAMP = $(VENV)/.installed-$(shell (cat requirements.txt pyproject.toml; pwd) | sha256sum | cut -c1-16)
RUN = $(VENV)/bin/

.PHONY: demo test test-all lint format clean

demo: $(STAMP)  ## render patients, run every stage, sample and evaluate with the shipped weights, write a report
	$(RUN)biomedjourney demo --work demo

test: $(STAMP)  ## the tests, without the slow ones
	$(RUN)python -m pytest -m "not slow"

test-all: $(STAMP)  ## all tests
	$(RUN)python -m pytest

lint: $(STAMP)
	$(RUN)ruff check .
	$(RUN)ruff format --check .

format: $(STAMP)
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

$(STAMP):
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed, found ' + sys.version.split()[0])"
	test -x $(RUN)python || $(PYTHON) -m venv $(VENV)
	@if $(RUN)python -c "import platform, sys; sys.exit((sys.version_info[:2], sys.platform, platform.machine()) != ((3, 11), 'linux', 'x86_64'))"; then \
	  echo "installing the locked packages (about 7 GB)"; \
	  $(RUN)python -m pip install --quiet --requirement requirements.txt && \
	  $(RUN)python -m pip install --quiet --no-deps --editable .; \
	else \
	  echo "the lock is for Python 3.11 on Linux x86-64: installing the ranges of pyproject.toml instead"; \
	  $(RUN)python -m pip install --quiet --editable ".[dev]"; \
	fi
	rm -f $(VENV)/.installed-*
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
