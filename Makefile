# Everything runs in .venv, which the first command makes. `make help` lists the commands; `python -m report --help` says
# more of those that are its aliases.
PYTHON ?= python3
BIN := .venv/bin
GROUPS ?= 3

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

report: .venv/ready  ## render the report from the stored results into build/ (minutes)
	$(BIN)/python -m report build

test: .venv/ready  ## check the code's form and run the tests
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -n auto --dist loadfile

study: .venv/ready  ## train what report/results lacks of the study (an hour; resumable)
	$(BIN)/python -m report study

quick: .venv/ready  ## the whole chain, small, on embedded digits (about two minutes)
	$(BIN)/python -m report quick

verify: .venv/ready  ## train a few random stored groups again and compare (GROUPS=3)
	$(BIN)/python -m report verify --groups $(GROUPS)

bench: .venv/ready  ## measure the speed side by side with the textbook loop (minutes, an idle machine)
	$(BIN)/python -m report bench

publish: .venv/ready  ## render with MNIST and copy the result into report/published
	$(BIN)/python -m report publish
	$(BIN)/python -m pytest -q -m published

lab: .venv/ready  ## explore in JupyterLab; options: make lab ARGS="--allow-root --no-browser"
	JUPYTER_PREFER_ENV_PATH=1 JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
		$(BIN)/jupyter lab --notebook-dir=. $(ARGS) notebooks/explore.ipynb

constraints:  ## renew constraints.txt from a fresh environment without pins
	$(PYTHON) -m venv --clear build/unpinned
	build/unpinned/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test,explore,browser,cluster]'
	sed -n '/==/q;p' constraints.txt > build/constraints.txt
	build/unpinned/bin/python -m pip freeze --exclude-editable | grep -viE '^(nvidia|cuda|triton)' | tr A-Z_ a-z- \
		| sort >> build/constraints.txt
	mv build/constraints.txt constraints.txt

lock:  ## renew .ci/locked.txt from constraints.txt, with hashes; on CI's platform (Python 3.11, Linux, x86-64)
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check --dry-run --only-binary :all: \
		--report build/lock/report.json -c constraints.txt '.[test,explore,browser,cluster]' 'setuptools>=77'
	$(PYTHON) .ci/lock.py build/lock/report.json > build/locked.txt
	mv build/locked.txt .ci/locked.txt

locked:  ## make .venv as CI does: from .ci/locked.txt, every file checked against its hash
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		-r .ci/locked.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,explore]'
	@touch .venv/ready

.PHONY: help report test study quick verify bench publish lab constraints lock locked
