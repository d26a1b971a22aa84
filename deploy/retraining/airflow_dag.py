"""Daily retraining by Airflow: copy to the DAGs' folder, with your own paths. Checked to import with Airflow 3.

One span at a time, in order of the days; a day that failed does not stop those after it. A task whose log is late, or that
another process keeps waiting, is tried again; what is finished is not repeated.
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
    # 0 pushed, 3 refused or a log is missing, 75 try again later, 1 anything else.
    BashOperator(
        task_id="retrain",
        bash_command="cd /srv/mal && .venv/bin/mal-tf retrain daily.yaml --span "
        "{{ macros.ds_add(dag_run.run_after.strftime('%Y-%m-%d'), -1) }}",
    )
