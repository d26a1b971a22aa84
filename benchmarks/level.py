"""How the level of the predictions moves during a training, and what settles it: prior biases, averages of weights, rates.

    python -m benchmarks.level examples/kuairand/config.yaml --labels runs/kuairand/labels --models mal,base

Trains each model once per variant and seed on the training split, and scores the evaluation split every few steps. Of each
training: AUC, log-loss and PCOC at its end, and the least and the largest PCOC from a third of the steps on. Every variant
changes one thing of the config. The constant that predicts the training split's rate stands beside them, with its log-loss.
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

#: Clicks scored at a time.
_BATCH = 8192

#: Times that the evaluation split is scored during a training.
_LOOKS = 24

log = logging.getLogger("mal_tf.benchmark")


def variants_of(config: TrainingConfig) -> dict[str, tuple[TrainingConfig, bool]]:
    """Training configs by what differs in them, and whether heads begin at the prior."""

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
    """The evaluation split's mature clicks, and how a network scores them."""

    def __init__(self, config: RunConfig, data: labelled.Labelled):
        spec, self._target = config.feature_spec, config.model.primary
        lookup = lookup_model(spec, data.vocabularies)
        dataset = batches(data.splits["eval"].segments, spec, lookup, [self._target], _BATCH)
        self._batches = [(rows, labels["mature"].numpy() == 1) for rows, labels in dataset]
        labels = [labels[self._target].numpy()[labels["mature"].numpy() == 1] for _, labels in dataset]
        self.label = np.concatenate(labels)

    def of(self, network: Network) -> Callable[[], np.ndarray]:
        """A function that gives the CVR of each click, float32 [clicks], by the network as it is then."""
        predict = tf.function(
            lambda rows: tf.sigmoid(network.model(rows, training=False)[network.primary.output]), reduce_retracing=True
        )
        return lambda: np.concatenate([predict(rows).numpy()[mature] for rows, mature in self._batches])


def trained(
    config: RunConfig, data: labelled.Labelled, ready: tf.data.Dataset, begin_at_prior: bool, scores: Scores
) -> dict[str, float]:
    """Trains once: metrics at the end, and the range of PCOC from a third of the steps on."""
    keras.backend.clear_session()
    recipe = stages.recipe(config, data, config.model.name)
    if not begin_at_prior:
        recipe = dataclasses.replace(recipe, split=dataclasses.replace(recipe.split, file_labels=()))
    assembly, steps = assemble(recipe), recipe.steps
    levels, every = [], max(steps // _LOOKS, 1)
    score = scores.of(assembly.network)

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if assembly.averages:
                assembly.averages.update(batch + 1)
            elif (batch + 1) % every == 0 and batch + 1 > steps / 3:
                levels.append(pcoc(scores.label, score()))

    assembly.trainer.fit(ready, epochs=1, verbose=0, callbacks=[Look()])
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


def measured(
    config: RunConfig, labels: str, models: Sequence[str], seeds: Sequence[int], only: Sequence[str]
) -> Iterator:
    """(model, variant, metrics by seed), one after the other."""
    data = labelled.load(labels, config.feature_spec)
    scores, spec = Scores(config, data), config.feature_spec
    lookup, kept = lookup_model(spec, data.vocabularies), {}
    for variant, (training, begin_at_prior) in variants_of(config.training).items():
        if only and variant not in only:
            continue
        size = training.batch_size
        if size not in kept:
            segments = data.splits["train"].segments
            kept[size] = batches(segments, spec, lookup, config.attribution.names, size).cache()
        for model in models:
            found = []
            for seed in seeds:
                asked = {"seed": seed, "training": training, "model": config.model.alone(model)}
                found.append(trained(config.model_copy(update=asked), data, kept[size], begin_at_prior, scores))
                log.info("%s, %s, seed %s: %s", model, variant, seed, found[-1])
            yield model, variant, found


def constant(config: RunConfig, labels: str) -> tuple[float, float]:
    """Log-loss and PCOC of the constant that the training split's rate is, on the evaluation split."""
    data = labelled.load(labels, config.feature_spec)
    counts, label = data.splits["train"].labels, Scores(config, data).label
    rate = counts.credit[config.model.primary] / counts.clicks
    return log_loss(label, np.full(label.shape, rate)), rate * label.size / float(label.sum())


def table(found: Sequence[tuple[str, str, Sequence[Mapping[str, float]]]], config: RunConfig, labels: str) -> Table:
    """Means over the seeds; of PCOC at the end, and of its course, lowest to highest over all of them."""
    rows = []
    for model, variant, of_seeds in found:
        values = {key: [of[key] for of in of_seeds] for key in of_seeds[0]}
        ends = " … ".join(f"{f(values['pcoc']):.2f}" for f in (min, max))
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
    variants: Annotated[str, typer.Option(help="By name, separated by commas; all by default.")] = "",
    overrides: Annotated[list[str], typer.Option("--set", help="KEY=VALUE of the config.")] = [],  # noqa: B006
    markdown: pathlib.Path | None = None,
) -> None:
    """Measures how the level of the predictions moves during a training."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    loaded = load(config, overrides)
    chosen, known = [name for name in variants.split(",") if name], variants_of(loaded.training)
    if unknown := [name for name in chosen if name not in known]:
        raise MalTfError(f"--variants: no variant is called '{unknown[0]}'; there are: {', '.join(known)}")
    found = list(measured(loaded, labels, models.split(","), [int(seed) for seed in seeds.split(",")], chosen))
    tables.report(tables.console(), tables.machine(), [table(found, loaded, labels)], markdown)


if __name__ == "__main__":
    tables.run(main)
