"""Computes first, last and linear labels in SQL with DuckDB, from Parquet to Parquet, as a reference for speed.

`python -m benchmarks.duckdb_labels CONFIG OUTPUT`. There is no data-driven mechanism, CAT label, tf.Example or split.
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
    """Write `output/labels.parquet` and return its path."""
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
    output: Annotated[pathlib.Path, typer.Argument(help="Directory to write to.")],
    threads: Annotated[int, typer.Option(min=1, help="Number of DuckDB's threads.")] = 1,
) -> None:
    """Label the logs in SQL."""
    output.mkdir(parents=True, exist_ok=True)
    print(run(load(config), output, threads))


if __name__ == "__main__":
    typer.run(main)
