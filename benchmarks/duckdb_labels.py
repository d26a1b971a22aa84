"""For context: first, last and linear labels by DuckDB in SQL, from Parquet to Parquet.

`python -m benchmarks.duckdb_labels CONFIG OUTPUT`. No data-driven mechanism, no CAT label, no tf.Examples, no splits.
"""

import pathlib
from typing import Annotated

import duckdb
import typer

from pipelines.config.run import RunConfig, load

_LABELS = """
COPY (
    WITH touch AS (
        SELECT
            click.id,
            row_number() OVER journey AS position,
            count(*) OVER (PARTITION BY conversion.user, conversion.id) AS length
        FROM read_parquet($conversions) AS conversion
        JOIN read_parquet($clicks) AS click
            ON click.user = conversion.user
            AND click.campaign = conversion.campaign
            AND click.ts BETWEEN conversion.ts - $window AND conversion.ts
        WHERE conversion.ts <= $until
        WINDOW journey AS (PARTITION BY conversion.user, conversion.id ORDER BY click.ts, click.id)
    ),
    credit AS (
        SELECT
            id,
            least(sum(CASE WHEN position = 1 THEN 1.0::DOUBLE ELSE 0 END), 1) AS label_first,
            least(sum(CASE WHEN position = length THEN 1.0::DOUBLE ELSE 0 END), 1) AS label_last,
            least(sum(1.0::DOUBLE / length), 1) AS label_linear
        FROM touch
        GROUP BY id
    )
    SELECT
        click.*,
        coalesce(label_first, 0)::FLOAT AS label_first,
        coalesce(label_last, 0)::FLOAT AS label_last,
        coalesce(label_linear, 0)::FLOAT AS label_linear
    FROM read_parquet($clicks) AS click
    LEFT JOIN credit USING (id)
    WHERE click.ts + $window <= $until
) TO '{output}' (FORMAT parquet)
"""


def run(config: RunConfig, output: pathlib.Path, threads: int = 1) -> pathlib.Path:
    """Writes `output/labels.parquet` and returns its path."""
    tables, path = config.sources.tables(), output / "labels.parquet"
    parameters = {
        "clicks": list(tables.clicks.files),
        "conversions": list(tables.conversions.files),
        "window": config.attribution.rules(1).window,
        "until": round(config.labels.observed_until.timestamp()),
    }
    with duckdb.connect(config={"threads": threads}) as connection:
        quoted = str(path).replace("'", "''")
        connection.execute(_LABELS.format(output=quoted), parameters)
    return path


def main(
    config: Annotated[str, typer.Argument(help="A config written by benchmarks.logs.")],
    output: Annotated[pathlib.Path, typer.Argument(help="Where to write.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads of DuckDB.")] = 1,
) -> None:
    """Label the logs in SQL."""
    output.mkdir(parents=True, exist_ok=True)
    print(run(load(config), output, threads))


if __name__ == "__main__":
    typer.run(main)
