# Softmax notes. `make` lists what there is; README.md gives the plain commands beside each.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
SITE := _build/html
NOTEBOOKS := $(wildcard book/*.ipynb)

# KaTeX draws the formulas with the node that requirements.txt installs.
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help book pdf epub live serve test test-offline quality notebooks lint accuracy bench lab requirements clean

help:  ## list the commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

book: $(VENV)/.ready  ## build the site, warnings as errors
	@mkdir -p _build
	@# To a file, not a pipe: after a bad formula KaTeX's server would hold the pipe open.
	@$(BIN)/jupyter-book build . --warningiserror --keep-going > _build/book.log 2>&1 \
		|| { cat _build/book.log; exit 1; }
	@echo "The book is built. Open $(abspath $(SITE))/index.html, or run: make serve"

pdf: book  ## make the book as PDF; the next `make book` links it
	$(BIN)/python book/offline pdf

epub: book  ## make the book as EPUB; the next `make book` links it
	$(BIN)/python book/offline epub

live: $(VENV)/.ready  ## fetch Python for the browser; the next `make book` uses it
	$(BIN)/python book/fetch_python.py

serve: book  ## serve the site on this machine
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(SITE) $(PORT)

test: book  ## run every test: package, proofs, doctests, notebooks, ledger, site
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --nbval

test-offline: live pdf epub  ## make the offline copies and the live page, and test them
	@$(MAKE) --no-print-directory book
	$(BIN)/python -m pytest tests/offline.py

notebooks: $(VENV)/.ready  ## run every notebook in place, outputs stored
	$(BIN)/python book/run_notebooks.py $(NOTEBOOKS)

lint: $(VENV)/.ready  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quality: book  ## judge the site: accessibility, valid HTML, speed
	$(BIN)/npm ci --prefix tests/quality --no-audit --no-fund --loglevel=error
	$(BIN)/python -m pytest tests/quality/quality.py

accuracy: $(VENV)/.ready  ## measure errors in ULP beside SciPy, PyTorch and JAX
	$(BIN)/python -m benchmarks.accuracy

bench: $(VENV)/.ready  ## measure the speed beside PyTorch, JAX, SciPy and ONNX Runtime
	$(BIN)/python -m benchmarks.speed

lab: $(VENV)/.ready  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab book

requirements: $(VENV)/.ready  ## pin every version again, from pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --all-extras --strip-extras --allow-unsafe --no-annotate \
		--no-emit-index-url --no-emit-find-links --no-emit-options -o requirements.txt pyproject.toml
	@# The public version: pip then takes whichever build, CPU or CUDA, the machine has. And
	@# not the package itself, which its own extras name.
	sed -i.bak -e 's/^torch==\([0-9.]*\)+cpu/torch==\1/' -e '/^softmax-notes /d' requirements.txt
	rm requirements.txt.bak

clean:  ## remove everything that was built or installed here
	rm -rf _build $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
