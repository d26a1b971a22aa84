"""Airflow DAG for daily retraining. Copy it to the folder of your DAGs and adapt the paths. Tested to load with Airflow 3.

Spans run one at a time, in order of the days, and a failed day does not stop later ones. A task whose logs are late, or whose
directory another process holds, is retried; finished stages are not repeated.
"""

import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="mal_tf_retrain",
    description="Label, check, train, judge and push the CVR model of a day",
    schedule="15 1 * * *",
    start_date=datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 4, "retry_delay": datetime.timedelta(hours=2)},
):
    # Exit codes: 0 pushed, 3 refused or a log is missing, 75 try again later, 1 any other error.
    BashOperator(
        task_id="retrain",
        bash_command="cd /srv/mal && .venv/bin/mal-tf retrain daily.yaml --span "
        "{{ macros.ds_add(dag_run.run_after.strftime('%Y-%m-%d'), -1) }}",
    )
