# Every target creates the virtual environment from the lock file if it is missing. deploy/python.sh chooses the interpreter and
# says what else has to be installed; PYTHON=PATH selects another one.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TFX := .venv-tfx
STORES := .venv-stores
LONG := runs/long_journeys/logs/manifest.json

AGAINST ?= HEAD~1

.PHONY: demo demo-market test test-slow golden airflow-check tfx-demo test-tfx lint lock clean test-lines test-stores cluster-demo

demo: $(READY)  ## Train and export a model from the raw logs of KuaiRand.
	$(BIN)/mal-tf run examples/kuairand/config.yaml

demo-market: $(READY) $(LONG)  ## Compare models on a simulated market of long journeys.
	$(BIN)/mal-tf benchmark examples/benchmark/long_journeys.yaml

$(LONG): examples/simulation/long_journeys.yaml | $(READY)
	$(BIN)/mal-tf simulate $< --output $(@D) --overwrite

cluster-demo: $(READY)  ## Label the raw logs of KuaiRand on a job server and three worker pools (docs/engines.md); all is stopped at the end.
	$(BIN)/python -W ignore deploy/engines/cluster.py --pools 3 --logs runs/cluster.log -- \
	  $(BIN)/mal-tf labels examples/kuairand/config.yaml --output runs/cluster --overwrite --shared_disk

test: $(READY) lint  ## Run lint and all tests except the slow ones.
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(READY)  ## Run the slow tests.
	$(BIN)/python -m pytest -m slow

test-lines:  ## Run the tests on Debian 13 with TensorFlow 2.21, in a folder, as root; TARGET=test-slow for the slow ones.
	tests/other_line.sh $(or $(TARGET),test)

test-stores: $(READY) $(STORES)/.ready  ## Run whole runs on emulated servers of GCS and S3, in a separate environment.
	MAL_TF_STORES=$(CURDIR)/$(STORES) PYTHONPATH=$(CURDIR)/$(STORES)/client $(BIN)/python -m pytest tests/end_to_end/test_stores.py \
	  tests/end_to_end/test_cluster.py::test_labels_on_a_store_are_those_of_a_local_run

$(STORES)/.ready: | $(READY)
	$(BIN)/python -m venv $(STORES)
	$(BIN)/uv pip install --quiet --python $(STORES)/bin/python "moto[s3,server]==5.2.5" "gcp-storage-emulator==2026.7.19"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(STORES)/client "boto3>=1.28,<2"
	touch $@

golden: $(READY)  ## Check that the working tree produces the same outputs as the commit AGAINST; further options in GOLDEN.
	$(BIN)/python -m benchmarks.golden --against $(AGAINST) --keep runs/golden $(GOLDEN)

airflow-check: $(READY)  ## Load the Airflow DAG with Airflow, in a separate environment.
	$(BIN)/python -m venv .venv-airflow
	$(BIN)/uv pip install --quiet --python .venv-airflow/bin/python "apache-airflow==3.1.8"
	AIRFLOW_HOME=$(CURDIR)/.venv-airflow/home AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR \
	  .venv-airflow/bin/python -W ignore deploy/retraining/check_airflow.py

MARKET := runs/market/logs/manifest.json
TFX_RUN := $(TFX)/bin/python -W ignore -m pipelines.retrain.tfx.pipeline

tfx-demo: $(TFX)/.ready $(MARKET)  ## Retrain for two days as a TFX pipeline, and compile it for Kubeflow and Vertex AI.
	rm -rf runs/market/tfx
	$(TFX_RUN) run examples/retraining/market.yaml --set root=../../runs/market/tfx --span 2024-01-11 --first
	$(TFX_RUN) run examples/retraining/market.yaml --set root=../../runs/market/tfx --span 2024-01-12
	$(TFX_RUN) compile examples/retraining/market.yaml --set root=/gcs/bucket/market --pipeline-root gs://bucket/tfx \
	  --image mal-tf-tfx --output runs/market/tfx/pipeline.json

test-tfx: $(TFX)/.ready  ## Run the tests of the TFX pipeline, including slow ones.
	$(TFX)/bin/python -m pytest tests/pipelines/retrain/tfx

$(MARKET): | $(TFX)/.ready
	$(TFX)/bin/mal-tf simulate examples/simulation/market.yaml --output runs/market/logs --set daily_logs=true --set window_hours=72

$(TFX)/.ready: requirements-tfx.lock setup.py | $(READY)
	$(BIN)/python -m venv $(TFX)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(TFX)/bin/python -r requirements-tfx.lock
	$(BIN)/uv pip install --quiet --python $(TFX)/bin/python --no-deps --no-build-isolation -e .
	touch $(TFX)/.ready

lint: $(READY)  ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/mypy

$(READY): requirements-dev.lock setup.py
	python=$$(deploy/python.sh $(PYTHON)) && $$python -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $(READY)

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
  --custom-compile-command "make lock"

lock: $(READY)  ## Update the lock files, keeping pinned versions; to upgrade a package, delete its lines first.
	$(COMPILE) setup.py -o requirements.lock
	$(COMPILE) --extra test -c requirements.lock setup.py -o requirements-dev.lock
	$(COMPILE) --extra test --extra tfx setup.py -o requirements-tfx.lock
	$(COMPILE) -c requirements.lock deploy/dataflow/requirements.in -o deploy/dataflow/requirements.lock

clean:
	rm -rf $(VENV) $(TFX) $(STORES) .lines runs
