# Works on a machine with Python 3.11 or newer (with pip) and make; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

INSTALL = $(PYTHON) -m venv $(VENV) && $(VENV)/bin/python -m pip install --quiet -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help quickstart test faults docs lowest highest bench format clean

help:  ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

quickstart: $(VENV)/.installed  ## Run the smallest suite and show its leaderboard
	$(VENV)/bin/unlearnbench run suites/quickstart.yaml
	$(VENV)/bin/unlearnbench report results/quickstart

# One thread a process: the models are small, and threads that wait for each other cost more than they do.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed-test  ## Check format, style and types, and run the tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/pytest -n $(WORKERS) -rs -m "not faults and not docs"

faults: export OMP_NUM_THREADS = 1
faults: $(VENV)/.installed-test  ## Inject faults under every engine, and compare what they record: minutes
	$(VENV)/bin/pytest -n $(WORKERS) -rs -m faults

docs: export OMP_NUM_THREADS = 1
docs: $(VENV)/.installed-docs  ## Build the documentation in build/docs, and run every command and example in it: minutes
	$(VENV)/bin/mkdocs build --quiet
	$(VENV)/bin/pytest -n $(WORKERS) -rs -m docs

# Both ends of the ranges in pyproject.toml, each in an environment of its own. What pip would take of torch differs from
# machine to machine, and may be gigabytes of CUDA packages: KEEP= lets it have its way there as well.
KEEP ?= torch torchvision
SMOKE = $(addprefix tests/,claims cli datasets leaderboard metrics records report site submissions suite \
  system/test_store.py system/test_streams.py system/test_yaml_values.py \
  running/test_dask_access.py running/test_engine.py running/test_progress.py running/test_runner.py)

lowest highest: export OMP_NUM_THREADS = 1
lowest:  ## Run some tests with the lowest versions that pyproject.toml allows: minutes
highest:  ## Run some tests with the newest versions there are: minutes
lowest highest:
	$(PYTHON) -m venv $(VENV)-$@
	$(PYTHON) tests/version_bounds.py $@ $(KEEP) > $(VENV)-$@/constraints.txt
	$(VENV)-$@/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -c $(VENV)-$@/constraints.txt -e '.[test]'
	$(VENV)-$@/bin/pytest -n $(WORKERS) -rs -m "not faults and not docs" $(SMOKE)

# Their files are called bench_*.py, so that pytest alone does not collect them.
bench: export OMP_NUM_THREADS = 1
bench: $(VENV)/.installed-test  ## Measure against a plain script, write docs/benchmarks.md; BENCH='-k step' selects
	mkdir -p .benchmarks
	$(VENV)/bin/pytest tests/benchmarks/bench_*.py --benchmark-enable --benchmark-columns=median,iqr,rounds \
	  --benchmark-json=.benchmarks/measured.json $(BENCH)
	$(VENV)/bin/python tests/benchmarks/table.py .benchmarks/measured.json

format: $(VENV)/.installed-test  ## Format the code and fix what ruff can fix
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:  ## Remove the virtual environment, caches and build output; results stay
	rm -rf .venv .venv-lowest .venv-highest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp that is missing or older than these files means: make the environment, or bring it up to date.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt
	$(INSTALL) -e '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(VENV)/.installed-test
	$(INSTALL) -e '.[test,docs]'
	touch $(VENV)/.installed $(VENV)/.installed-test $@
