"""Measures how the calibration level (PCOC) of predictions moves during training, and which settings stabilize it.

    python -m benchmarks.level examples/kuairand/config.yaml --labels runs/kuairand/labels --models mal,base

Trains each model once per variant and seed on the training split, and scores the evaluation split every few steps. The table
has AUC, log-loss and PCOC at the end of each training, and the least and the largest PCOC after the first third of the steps.
Every variant changes one setting. The constant prediction of the training split's rate is shown for comparison.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
import typer

from benchmarks import tables
from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import lookup_model
from mal_tf.evaluation.metrics import auc, log_loss, pcoc
from mal_tf.models.network import Network
from mal_tf.training.assembly import assemble
from mal_tf.training.config import TrainingConfig
from mal_tf.training.dataset import batches
from pipelines.clicks import labelled
from pipelines.config.run import RunConfig, load
from pipelines.core.text_table import Table
from pipelines.train import stages

#: Number of clicks that are scored at a time.
_BATCH = 8192

#: Number of times that the evaluation split is scored during a training.
_SCORINGS = 24

log = logging.getLogger("mal_tf.benchmark")


def training_variants(config: TrainingConfig) -> dict[str, tuple[TrainingConfig, bool]]:
    """Return the training config of each variant, and whether heads are initialised at the prior."""

    def changed(**update) -> tuple[TrainingConfig, bool]:
        return TrainingConfig.model_validate(config.model_dump() | update), True

    rates = {key: getattr(config, key) / 2 for key in ("learning_rate", "embedding_learning_rate")}
    return {
        "as configured": changed(averaging=None),
        "heads begin at 0.5": (changed(averaging=None)[0], False),
        "mean of the last half": changed(averaging={"last_share": 0.5}),
        "mean of the last quarter": changed(averaging={"last_share": 0.25}),
        "exponential average, 0.98": changed(averaging={"last_share": 1.0, "decay": 0.98}),
        "half the batch": changed(batch_size=max(config.batch_size // 2, 1)),
        "twice the batch": changed(batch_size=config.batch_size * 2),
        "half of both rates": changed(**rates),
        "half of the dense rate": changed(learning_rate=rates["learning_rate"]),
        "warm-up over a fifth": changed(warmup_share=0.2),
        "gradients clipped to norm 1": changed(clip_norm=1.0),
        "auxiliary losses at 0.1": changed(auxiliary_weight=0.1, cat_weight=0.1),
    }


class Scores:
    """The evaluation split's mature clicks, which networks score."""

    def __init__(self, config: RunConfig, data: labelled.Labelled):
        spec, self._target = config.feature_spec, config.model.primary
        lookup = lookup_model(spec, data.vocabularies)
        dataset = batches(data.splits["eval"], spec, lookup, [self._target], _BATCH)
        self._batches = [(rows, labels["mature"].numpy() == 1) for rows, labels in dataset]
        labels = [labels[self._target].numpy()[labels["mature"].numpy() == 1] for _, labels in dataset]
        self.label = np.concatenate(labels)

    def scorer(self, network: Network) -> Callable[[], np.ndarray]:
        """Return a function that predicts each click's CVR, float32 [clicks], with the network's current weights."""
        predict = tf.function(
            lambda rows: tf.sigmoid(network.model(rows, training=False)[network.primary.output]), reduce_retracing=True
        )
        return lambda: np.concatenate([predict(rows).numpy()[mature] for rows, mature in self._batches])


def train(
    config: RunConfig, data: labelled.Labelled, ready: tf.data.Dataset, begin_at_prior: bool, scores: Scores
) -> dict[str, float]:
    """Train once and return metrics at the end, and the range of PCOC after the first third of the steps."""
    keras.backend.clear_session()
    recipe = stages.recipe(config, data, config.model.name)
    if not begin_at_prior:
        recipe = dataclasses.replace(recipe, split=dataclasses.replace(recipe.split, file_labels=()))
    assembly, steps = assemble(recipe), recipe.steps
    levels, every = [], max(steps // _SCORINGS, 1)
    score = scores.scorer(assembly.network)

    class Scoring(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if assembly.averages:
                assembly.averages.update(batch + 1)
            elif (batch + 1) % every == 0 and batch + 1 > steps / 3:
                levels.append(pcoc(scores.label, score()))

    assembly.trainer.fit(ready, epochs=1, verbose=0, callbacks=[Scoring()])
    assembly.finish()
    prediction = score()
    levels = levels or [pcoc(scores.label, prediction)]
    return {
        "auc": auc(scores.label, prediction),
        "log_loss": log_loss(scores.label, prediction),
        "pcoc": pcoc(scores.label, prediction),
        "least": min(levels),
        "largest": max(levels),
    }


def measure(
    config: RunConfig, labels: str, models: Sequence[str], seeds: Sequence[int], only: Sequence[str]
) -> Iterator:
    """Train all variants and models, and yield (model, variant, metrics by seed)."""
    data = labelled.load(labels, config.feature_spec)
    scores, spec = Scores(config, data), config.feature_spec
    lookup, datasets = lookup_model(spec, data.vocabularies), {}
    for variant, (training, begin_at_prior) in training_variants(config.training).items():
        if only and variant not in only:
            continue
        size = training.batch_size
        if size not in datasets:
            train_split = data.splits["train"]
            datasets[size] = batches(train_split, spec, lookup, config.attribution.names, size).cache()
        for model in models:
            metrics = []
            for seed in seeds:
                update = {"seed": seed, "training": training, "model": config.model.alone(model)}
                metrics.append(train(config.model_copy(update=update), data, datasets[size], begin_at_prior, scores))
                log.info("%s, %s, seed %s: %s", model, variant, seed, metrics[-1])
            yield model, variant, metrics


def constant(config: RunConfig, labels: str) -> tuple[float, float]:
    """Return log-loss and PCOC on the evaluation split of predicting the training split's rate."""
    data = labelled.load(labels, config.feature_spec)
    counts, label = data.splits["train"].labels, Scores(config, data).label
    rate = counts.credit[config.model.primary] / counts.clicks
    return log_loss(label, np.full(label.shape, rate)), rate * label.size / float(label.sum())


def table(results: Sequence[tuple[str, str, Sequence[Mapping[str, float]]]], config: RunConfig, labels: str) -> Table:
    """Build the table: means over the seeds, and the range over the seeds of PCOC at the end and in the course of training."""
    rows = []
    for model, variant, by_seed in results:
        values = {key: [metrics[key] for metrics in by_seed] for key in by_seed[0]}
        ends = " … ".join(f"{bound(values['pcoc']):.2f}" for bound in (min, max))
        course = f"{min(values['least']):.2f} … {max(values['largest']):.2f}" if "average" not in variant else "–"
        course = "–" if variant.startswith("mean") else course
        auc_, loss = (f"{np.mean(values[key]):.{digits}f}" for key, digits in (("auc", 4), ("log_loss", 5)))
        rows.append([model, variant, auc_, loss, ends, course])
    loss, level = constant(config, labels)
    rows.append(["–", "the training split's rate", "0.5000", f"{loss:.5f}", f"{level:.2f}", "–"])
    columns = ["model", "variant", "AUC", "log-loss", "PCOC at the end", "PCOC from a third of the steps on"]
    return Table(f"Level of the predictions on {config.name}", columns, rows)


def main(
    config: str,
    labels: Annotated[str, typer.Option(help="Directory of the finished label job.")],
    models: str = "mal,base",
    seeds: str = "17,18",
    variants: Annotated[str, typer.Option(help="Names of variants, separated by commas. By default all.")] = "",
    overrides: Annotated[list[str], typer.Option("--set", help="Override a key of the config: KEY=VALUE.")] = [],  # noqa: B006
    markdown: pathlib.Path | None = None,
) -> None:
    """Measure how the level of predictions moves during training."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    loaded = load(config, overrides)
    chosen, all_variants = [name for name in variants.split(",") if name], training_variants(loaded.training)
    if unknown := [name for name in chosen if name not in all_variants]:
        raise MalTfError(f"--variants: no variant is called '{unknown[0]}'; there are: {', '.join(all_variants)}")
    results = list(measure(loaded, labels, models.split(","), [int(seed) for seed in seeds.split(",")], chosen))
    tables.report(tables.console(), tables.machine(), [table(results, loaded, labels)], markdown)


if __name__ == "__main__":
    tables.run(main)
