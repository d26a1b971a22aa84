"""Configuration of a training: loss, optimisers, precision, averaging and checkpoints."""

from typing import Literal

import pydantic

from features.frozen import Frozen, Path

Optimizer = Literal["adam", "lazy_adam", "adagrad", "clippy_adagrad", "sgd"]


class CheckpointConfig(Frozen):
    """When a training is saved. Checkpoints do not change its result.

    Attributes:
        every_seconds: seconds between checkpoints.
        every_steps: steps between additional checkpoints; none when absent.
        keep: number of latest checkpoints to keep.
    """

    every_seconds: float = pydantic.Field(600, gt=0)
    every_steps: int | None = pydantic.Field(None, ge=1)
    keep: int = pydantic.Field(2, ge=1)


class AveragingConfig(Frozen):
    """Averages of the weights over the last steps, which replace the final weights (`mal_tf.training.averaging`).

    Attributes:
        last_share: share of the steps, at the end of the training, whose weights are averaged.
        decay: factor by which the weight of a step decays with each later step, for an exponential moving average; 0.99
            averages about the last hundred steps. The arithmetic mean when absent.
    """

    last_share: float = pydantic.Field(0.5, gt=0, le=1)
    decay: float | None = pydantic.Field(None, gt=0, lt=1)


class TrainingConfig(Frozen):
    """One pass over the training split in time order.

    Attributes:
        batch_size: clicks per step.
        loss: `weighted` (the paper: y = 1[l > 0], weight l for positives, 1 for negatives), `soft` (y = l, weight 1:
            calibrated for fractional credit), `binary` (y = 1[l > 0], weight 1) or `pymal` (as `binary`, with PyMAL's
            log(p + 1e-8)).
        auxiliary_weight: λ of every auxiliary target's loss.
        cat_weight: λ of the CAT target's loss.
        gradients: how the gradients of the targets' losses are combined: `sum`; `pcgrad`, which projects conflicting
            gradients onto each other's normal plane (arXiv 2001.06782); `gcs`, which weights auxiliary gradients by their
            cosine with the primary's (arXiv 1812.02224). The last two need a backward pass per target.
        gradient_variant: variant of `pcgrad` and `gcs`: `published`, or `pymal` as in the papers' released code, which
            leaves out λ (see `mal_tf.training.gradients`).
        optimizer: optimiser of the dense layers.
        adam_epsilon: epsilon of `adam` and `lazy_adam` in both optimisers, added after the bias correction as in PyTorch
            (`mal_tf.training.adam`). PyMAL uses 1e-8. The value matters, because gradients of large tables are of that size.
        learning_rate: learning rate of the dense layers.
        embedding_optimizer: optimiser of the embedding tables. `adam` updates every row in every step, including those that
            do not occur in the batch, at the cost of a pass over the tables and their two moments. The others update only
            the rows of the batch, so that the cost of a step does not depend on the size of the tables. `lazy_adam` is
            `adam` restricted to these rows, which is a different algorithm. `clippy_adagrad` shrinks the step of all tables
            of one width by a common factor. Memory per weight: 2 numbers for `adam` and `lazy_adam`, 1 for `adagrad` and
            `clippy_adagrad`, none for `sgd`.
        embedding_learning_rate: learning rate of the embedding tables.
        warmup_share: share of the steps over which both learning rates rise linearly.
        clip_norm: global norm to which gradients of the dense layers are clipped; no clipping when absent.
        averaging: averages of the weights that replace the final ones; none when absent. They cost a pass over all weights,
            including tables, in each averaged step, and as much memory as the weights.
        precision: precision in which layers compute in training. Weights, losses, optimisers and the exported model are
            always float32. `bfloat16` is for processors that support it (AMX, TPU), `float16` for GPUs, with loss scaling so
            that small gradients are not lost.
        xla: whether to compile the layers above the click's vector with XLA. Each batch size is compiled once, which takes
            seconds. Meant for GPUs; on a CPU, measure first (`benchmarks/train.py`).
        corrupt_records: `fail` at the first record that can't be read, or `skip` and count them.
        checkpoint: when the training is saved.
        warm_start: an earlier run, or its `train/<model>`, relative to the config, whose weights this training starts from
            where they have the same meaning (see `mal_tf.training.warm_start`).

    Example:
        >>> import mal_tf
        >>> config = mal_tf.TrainingConfig(batch_size=64, loss="soft", averaging={"last_share": 0.25})
        >>> config.embedding_optimizer, config.averaging.last_share
        ('adagrad', 0.25)
    """

    batch_size: int = pydantic.Field(512, ge=1)
    loss: Literal["weighted", "soft", "binary", "pymal"] = "weighted"
    auxiliary_weight: float = pydantic.Field(0.3, ge=0)
    cat_weight: float = pydantic.Field(0.3, ge=0)
    gradients: Literal["sum", "pcgrad", "gcs"] = "sum"
    gradient_variant: Literal["published", "pymal"] = "published"
    optimizer: Optimizer = "adam"
    adam_epsilon: float = pydantic.Field(1e-7, gt=0)
    learning_rate: float = pydantic.Field(1e-3, gt=0)
    embedding_optimizer: Optimizer = "adagrad"
    embedding_learning_rate: float = pydantic.Field(0.05, gt=0)
    warmup_share: float = pydantic.Field(0.05, ge=0, le=1)
    clip_norm: float | None = pydantic.Field(None, gt=0)
    averaging: AveragingConfig | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False
    corrupt_records: Literal["fail", "skip"] = "fail"
    checkpoint: CheckpointConfig = CheckpointConfig()
    warm_start: Path | None = None
