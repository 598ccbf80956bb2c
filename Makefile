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
.PHONY: help book pdf epub live serve test test-slow test-offline test-oldest test-newest quality speed notebooks lint \
	hooks mutants accuracy bench benchmarks package audit lab requirements clean

help:  ## list the commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

# Every file that pip takes has a recorded hash, pip itself first: older ones cannot take the
# hashes of requirements-cuda.txt, which counts where pip's PyTorch is the one for CUDA.
LOCKED := --quiet --disable-pip-version-check --require-hashes

$(VENV)/.ready: requirements.txt requirements-cpu.txt requirements-cuda.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	sed -n '/^pip==/,/[^\]$$/p' requirements.txt > $(VENV)/pip.txt
	$(BIN)/python -m pip install $(LOCKED) -r $(VENV)/pip.txt
	@# PyTorch without CUDA where pip finds it; what is installed is kept by the next line.
	$(BIN)/python -m pip install $(LOCKED) --no-deps -r requirements-cpu.txt 2> /dev/null || true
	$(BIN)/python -m pip install $(LOCKED) -r requirements.txt -c requirements-cuda.txt
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

test: book  ## test package, proofs, doctests, notebooks, ledger, site, in a few minutes
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --nbval -m "not slow"

test-slow: book  ## run the tests that take long, and the laws on JAX and Dask
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m slow tests

test-offline: live pdf epub  ## make the offline copies and the live page, and test them
	@$(MAKE) --no-print-directory book
	$(BIN)/python -m pytest tests/offline.py

# The package and its proofs on other versions, in an environment of their own; the site is built,
# not looked at: what a browser draws does not hang on versions. PYTHON chooses the interpreter.
# TORCH=no leaves out PyTorch, which pip may have with CUDA alone, with the tests that need it and
# the site, whose reference does.
TORCH ?= yes
NO_TORCH := $(filter no,$(TORCH))
LOOKING := test_delivery.py test_front.py test_live.py test_offline.py test_reading.py test_site.py quality offline.py
test-oldest: test-versions-lowest-direct  ## test on the lowest versions that pyproject.toml allows
test-newest: test-versions-highest  ## test on the newest versions there are
test-versions-%: $(VENV)/.ready
	@mkdir -p _build
	$(BIN)/uv pip compile --quiet --upgrade --resolution $* --prerelease disallow --all-extras --python $(PYTHON) \
		--no-annotate --no-header $(if $(NO_TORCH),--no-emit-package torch) -o _build/$*.txt pyproject.toml
	$(PYTHON) -m venv --clear _build/$*
	_build/$*/bin/python -m pip install --quiet --disable-pip-version-check -r _build/$*.txt
	_build/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(if $(NO_TORCH),,PATH="$(abspath _build/$*/bin):$$PATH" jupyter-book build . --warningiserror --keep-going \
		--path-output _build/$*-site > _build/$*.log 2>&1 || { cat _build/$*.log; exit 1; })
	_build/$*/bin/python -m pytest --numprocesses 2 --dist loadfile softmax_notes tests \
		$(if $(NO_TORCH),--doctest-ignore-import-errors) $(addprefix --ignore=tests/,$(LOOKING))

notebooks: $(VENV)/.ready  ## run every notebook in place, outputs stored
	$(BIN)/python book/run_notebooks.py $(NOTEBOOKS)

lint: $(VENV)/.ready  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

# What nothing but these two commands needs.
$(VENV)/.tools: requirements-tools.txt $(VENV)/.ready
	$(BIN)/python -m pip install $(LOCKED) -r $<
	@touch $@

hooks: $(VENV)/.tools  ## run what `make lint` runs before each commit
	$(BIN)/pre-commit install

quality: book  ## judge the site: accessibility, valid HTML, weight
	$(BIN)/npm ci --prefix tests/quality --ignore-scripts --no-audit --no-fund --loglevel=error
	$(BIN)/python -m pytest --numprocesses 2 tests/quality/quality.py

speed: quality  ## judge the speed of the site with Lighthouse; let nothing else run meanwhile
	$(BIN)/python -m pytest tests/quality/speed.py

mutants: $(VENV)/.ready  ## change the package in many places, and see a test fail each time
	$(BIN)/python -m tests.mutants

accuracy: $(VENV)/.ready  ## measure errors in ULP beside SciPy, PyTorch and JAX
	$(BIN)/python -m benchmarks.accuracy

bench: $(VENV)/.ready  ## measure the speed beside PyTorch, JAX, SciPy and ONNX Runtime
	$(BIN)/python -m benchmarks.speed

benchmarks: $(VENV)/.ready  ## make the other stored measurements again (an hour)
	for study in libraries attention streaming vocabulary exp_exhaustive; do \
		$(BIN)/python -m benchmarks.$$study || exit 1; done

package: $(VENV)/.ready  ## build the sdist and the wheel, and try them with NumPy alone
	rm -rf _build/dist
	$(BIN)/python -m build --no-isolation --outdir _build/dist .
	$(BIN)/twine check --strict _build/dist/*
	$(BIN)/python -m pytest tests/package.py

audit: $(VENV)/.tools  ## ask what is known against the pinned versions, and store the answer
	$(BIN)/python tests/audit.py

lab: $(VENV)/.ready  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab book

COMPILE := uv pip compile --quiet --upgrade --prerelease disallow --universal --generate-hashes --python-version 3.11 \
	--no-annotate --custom-compile-command "make requirements"

requirements: $(VENV)/.ready  ## pin every version again, from pyproject.toml
	$(BIN)/$(COMPILE) --all-extras -o requirements.txt pyproject.toml
	grep -o '^torch==[0-9.]*' requirements.txt | $(BIN)/$(COMPILE) --no-config -c requirements.txt - \
		| awk '/^#/ || /^(cuda|nvidia|triton)/ {on = 1} /^[a-z]/ && !/^(cuda|nvidia|triton)/ {on = 0} on' \
		> requirements-cuda.txt
	printf 'pip-audit\npre-commit\n' | $(BIN)/$(COMPILE) --no-config -c requirements.txt -o requirements-tools.txt -

clean:  ## remove everything that was built or installed here
	rm -rf _build $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
