"""Runs the compiled TFX pipeline daily on Vertex AI: `python vertex_schedule.py PIPELINE.json PROJECT REGION ROOT`.

Needs `google-cloud-aiplatform` and credentials; ROOT is a `gs://` folder for the pipeline's own files.
"""

import sys

from google.cloud import aiplatform


def main(pipeline: str, project: str, region: str, root: str) -> None:
    """Creates the schedule: daily at 01:15 UTC, one run at a time."""
    aiplatform.init(project=project, location=region)
    job = aiplatform.PipelineJob(
        display_name="mal-tf-retrain",
        template_path=pipeline,
        pipeline_root=root,
        parameter_values={"span": "yesterday"},
        enable_caching=False,
    )
    schedule = job.create_schedule(
        display_name="mal-tf-retrain-daily", cron="TZ=UTC 15 1 * * *", max_concurrent_run_count=1
    )
    print(schedule.resource_name)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
