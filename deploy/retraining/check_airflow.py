"""Loads the DAG with Airflow and renders the command of a run, for `make airflow-check`."""

import datetime
import pathlib
import types

from airflow.models.dagbag import DagBag
from airflow.sdk.execution_time import macros

bag = DagBag(pathlib.Path(__file__).with_name("airflow_dag.py"), include_examples=False)
assert not bag.import_errors, bag.import_errors
(dag,) = bag.dags.values()
(task,) = dag.tasks
run = types.SimpleNamespace(run_after=datetime.datetime(2025, 5, 21, 1, 15, tzinfo=datetime.timezone.utc))
command = task.render_template(task.bash_command, {"macros": macros, "dag_run": run})
assert command.endswith("retrain daily.yaml --span 2025-05-20"), command
print(f"{dag.dag_id}: {command}")
