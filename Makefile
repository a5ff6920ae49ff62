# `make demo` and `make test` set everything up first: a .venv, made when absent or when requirements.txt changed.
PYTHON ?= python3
VENV ?= .venv
STAMP = $(VENV)/.installed-$(shell (cat requirements.txt pyproject.toml; pwd) | sha256sum | cut -c1-16)
RUN = $(VENV)/bin/
PYTEST = OMP_NUM_THREADS=1 $(RUN)python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10

.PHONY: demo test test-all typecheck lint format wheel zoo clean

demo: $(STAMP)  ## render patients, run every stage, sample and evaluate with the shipped weights, write a report
	$(RUN)biomedjourney demo --work demo

test: $(STAMP)  ## the tests on two cores, without the slow ones; prints the ten slowest
	$(PYTEST) -m "not slow"

test-all: $(STAMP)  ## all tests
	$(PYTEST)

typecheck: $(STAMP)
	$(RUN)python -m mypy

lint: $(STAMP)
	$(RUN)ruff check .
	$(RUN)ruff format --check .

format: $(STAMP)
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

wheel: $(STAMP)  ## the package with its bundle, in dist/
	$(RUN)python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

zoo: $(STAMP)  ## the bundle as Model Zoo ships it, with the package's code inside, in zoo/biomedjourney; URL=… for large files
	rm -rf zoo/biomedjourney
	PYTHONPATH=. $(RUN)python scripts/make_zoo.py zoo/biomedjourney $(if $(URL),--url $(URL))

$(STAMP):
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed, found ' + sys.version.split()[0])"
	test -x $(RUN)python || $(PYTHON) -m venv $(VENV)
	@if $(RUN)python -c "import platform, sys; sys.exit((sys.version_info[:2], sys.platform, platform.machine()) != ((3, 11), 'linux', 'x86_64'))"; then \
	  echo "installing the locked packages (about 9 GB)"; \
	  $(RUN)python -m pip install --quiet --requirement requirements.txt && \
	  $(RUN)python -m pip install --quiet --no-deps --editable .; \
	else \
	  echo "the lock is for Python 3.11 on Linux x86-64: installing the ranges of pyproject.toml instead"; \
	  $(RUN)python -m pip install --quiet --editable ".[dev]"; \
	fi
	rm -f $(VENV)/.installed-*
	touch $@

clean:
	rm -rf $(VENV) demo build dist zoo *.egg-info
