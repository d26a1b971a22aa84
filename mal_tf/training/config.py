"""Configuration of the training."""

from typing import Literal

import pydantic

from features.frozen import Frozen, Path

Optimizer = Literal["adam", "lazy_adam", "adagrad", "clippy_adagrad", "sgd"]


class CheckpointConfig(Frozen):
    """When a training is saved. It changes nothing of its result.

    Attributes:
        every_seconds: after this many since the last checkpoint.
        every_steps: besides, every so many steps.
        keep: how many of the latest stay.
    """

    every_seconds: float = pydantic.Field(600, gt=0)
    every_steps: int | None = pydantic.Field(None, ge=1)
    keep: int = pydantic.Field(2, ge=1)


class AveragingConfig(Frozen):
    """Averages of the weights over the last steps, which take the place of the last ones (`mal_tf.training.averaging`).

    Attributes:
        last_share: share of the steps, at the end, after each of which the weights are taken in.
        decay: none for their mean; else the average is an exponential one, in which the weights of a step ago count this much of
            the last ones: 0.99 is about the last hundred steps.
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
        gradients: how those of the targets' losses are put together: `sum`; `pcgrad`, conflicting ones projected onto each
            other's normal plane (arXiv 2001.06782); `gcs`, auxiliary ones weighted by their cosine with the primary's
            (arXiv 1812.02224). The last two need a backward pass per target.
        gradient_variant: of the last two: `published`, or `pymal` as in the papers' released code, which leaves out λ (see
            `mal_tf.training.gradients`).
        optimizer: of the dense parts.
        adam_epsilon: of both optimisers where they are `adam` or `lazy_adam`, added after the bias correction as PyTorch
            does (`mal_tf.training.adam`). PyMAL has 1e-8, which matters: gradients of large tables are of that size.
        learning_rate: of the dense parts.
        embedding_optimizer: of the embedding tables. `adam` moves every row in every step, also those that the batch
            has not seen: a step costs a pass over the tables and their two moments. The others touch only the rows of the
            batch, so that a step costs the same for any size of the tables; `lazy_adam` is `adam` in this way, which is
            not the same mathematics. `clippy_adagrad` shrinks the step of all tables of a width by one factor. Memory per
            weight: `adam` and `lazy_adam` 2 numbers, `adagrad` and `clippy_adagrad` 1, `sgd` none.
        embedding_learning_rate: of the embedding tables.
        warmup_share: both learning rates rise linearly over this share of the steps.
        clip_norm: gradients of the dense parts are scaled down to this global norm; not at all when absent.
        averaging: end with averages of the weights, not with the last ones; not when absent. Costs a pass over all weights,
            those of tables too, in each step that is averaged, and as much memory again as they take.
        precision: in which layers compute in training; weights, losses, optimisers and the exported model are float32 in
            any case. `bfloat16` is for processors that multiply it (AMX, TPU), `float16`, with the loss scaled so that
            small gradients are not lost, for GPUs.
        xla: compile what is above the click's vector with XLA. Each size of batch is compiled once, which takes seconds.
            For GPUs; on a CPU measure first (`benchmarks/train.py`).
        corrupt_records: `fail` at the first record that can't be read, or `skip` and count them.
        checkpoint: when the training is saved.
        warm_start: an earlier run, or its `train/<model>`, relative to the config, whose weights this training begins with as
            far as they mean the same (see `mal_tf.training.warm_start`).
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
