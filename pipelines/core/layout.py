"""Names of the files in a run's directory that are of no stage, so that no manifest lists them. All other files are of a stage.

Rooms that write such a file take its name from here, as do those that read it or tell it from a stray one.
"""

#: The resolved config, the code and packages, and the error message of the last command, if that failed.
CONFIG, RUN, FAILED = "config.yaml", "run.json", "failed.txt"

#: The SHA-256 hash of the config that each stage was last made or confirmed with.
STAGES = "stages.json"

#: The report.
REPORT = "report.html"

#: The days of a span of a retraining, and the version that it was pushed as.
PLAN, PUSHED = "plan.json", "pushed.json"

#: The config of a comparison, the clicks that it evaluates on, and its results; those of a replay are named alike.
BENCHMARK, CLICKS, RESULTS = "benchmark.json", "clicks.parquet", "results.json"

#: The results as tables, and a replay's figures.
TABLES, FIGURES = "results.md", ("lifts.svg", "industries.svg")

#: The config of a grid, and its figure.
GRID, GROWTH = "grid.json", "growth.svg"

#: Directory of a search for hyperparameters, and its files there.
TUNE, TRIALS, BEST = "tune", "trials.json", "best.yaml"

#: All of them.
OF_NO_STAGE = frozenset((CONFIG, RUN, FAILED, STAGES, REPORT, PLAN, PUSHED)) | frozenset(
    (BENCHMARK, CLICKS, RESULTS, TABLES, *FIGURES, GRID, GROWTH, f"{TUNE}/{TRIALS}", f"{TUNE}/{BEST}")
)

#: The plan of a span that TFX's label component writes into the finished directory of its label job.
PLANNED = "planned.json"
