# Everything runs in .venv, which the first command makes. `make help` lists the commands.
PYTHON ?= python3
BIN := .venv/bin
BLOCKS ?= 3

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

report: .venv/ready  ## render the report from the stored results into build/ (minutes)
	$(BIN)/python -m report.build

test: .venv/ready  ## check the code's form and run the tests
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q

study: .venv/ready  ## train what report/results lacks of the study (hours; resumable)
	$(BIN)/python -m report.build --study

quick: .venv/ready  ## the whole chain, small, on embedded digits (about two minutes)
	$(BIN)/python -m report.build --quick

verify: .venv/ready  ## train a few random stored blocks again and compare (BLOCKS=3)
	$(BIN)/python -m report.verify --blocks $(BLOCKS)

bench: .venv/ready  ## measure the speed side by side with the textbook loop (minutes, an idle machine)
	$(BIN)/python -c 'from report.speed.benchmark import main; main()'  # not -m: its workers would import all of it

publish: .venv/ready  ## render with MNIST and copy the result into report/
	$(BIN)/python -m report.publish
	$(BIN)/python -m report.build --publish

lab: .venv/ready  ## explore in JupyterLab
	JUPYTER_PREFER_ENV_PATH=1 $(BIN)/jupyter lab --notebook-dir=. notebooks

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch .venv/ready

.PHONY: help report test study quick verify bench publish lab
