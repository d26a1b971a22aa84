# Needs Python 3.11 and nothing else: every target makes the virtual environment from the lock if it is missing.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow airflow-check lint lock clean

demo: $(READY)  ## The main job on KuaiRand: raw logs to a served model.
	$(BIN)/mal-tf run examples/kuairand/config.yaml

test: $(READY) lint  ## Lint and all tests but the slow ones.
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(READY)  ## The slow tests.
	$(BIN)/python -m pytest -m slow

airflow-check: $(READY)  ## The Airflow DAG, read by Airflow in an environment of its own.
	$(PYTHON) -m venv .venv-airflow
	$(BIN)/uv pip install --quiet --python .venv-airflow/bin/python "apache-airflow==3.1.8"
	AIRFLOW_HOME=$(CURDIR)/.venv-airflow/home AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR \
	  .venv-airflow/bin/python -W ignore deploy/retraining/check_airflow.py

lint: $(READY)
	$(BIN)/ruff check .

$(READY): requirements.lock requirements-dev.lock setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock -r requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $(READY)

COMPILE = $(BIN)/uv pip compile --quiet --python-version 3.11 --no-annotate --no-header -c requirements.lock

lock: $(READY)  ## Resolve the locks anew, keeping the versions they have; to let one go, delete its line first.
	(sed -n '/^#/p' requirements.lock; $(COMPILE) setup.py) > requirements.new
	(sed -n '/^#/p' requirements-dev.lock; $(COMPILE) --extra test setup.py | grep -vxFf requirements.new) > requirements-dev.new
	mv requirements.new requirements.lock
	mv requirements-dev.new requirements-dev.lock
	$(COMPILE) deploy/dataflow/requirements.in -o deploy/dataflow/requirements.lock

clean:
	rm -rf $(VENV) runs
