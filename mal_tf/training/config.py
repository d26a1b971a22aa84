"""Configuration of the training."""

from typing import Literal

import pydantic

from features.frozen import Frozen


class TrainingConfig(Frozen):
    """One pass over the training split in time order.

    Attributes:
        batch_size: clicks per step.
        loss: `weighted` (the paper: y = 1[l > 0], weight l for positives, 1 for negatives), `soft` (y = l, weight 1:
            calibrated for fractional credit) or `binary` (y = 1[l > 0], weight 1: PyMAL).
        auxiliary_weight: λ of every auxiliary target's loss.
        cat_weight: λ of the CAT target's loss.
        optimizer: of the dense parts.
        learning_rate: of the dense parts.
        embedding_optimizer: of the embedding tables; `adagrad` and `clippy_adagrad` touch only the rows of the batch.
        embedding_learning_rate: of the embedding tables.
        warmup_share: both learning rates rise linearly over this share of the steps.
        clip_norm: gradients of the dense parts are scaled down to this global norm; not at all when absent.
    """

    batch_size: int = pydantic.Field(512, ge=1)
    loss: Literal["weighted", "soft", "binary"] = "weighted"
    auxiliary_weight: float = pydantic.Field(0.3, ge=0)
    cat_weight: float = pydantic.Field(0.3, ge=0)
    optimizer: Literal["adam", "adagrad", "sgd"] = "adam"
    learning_rate: float = pydantic.Field(1e-3, gt=0)
    embedding_optimizer: Literal["adagrad", "clippy_adagrad", "adam", "sgd"] = "adagrad"
    embedding_learning_rate: float = pydantic.Field(0.05, gt=0)
    warmup_share: float = pydantic.Field(0.05, ge=0, le=1)
    clip_norm: float | None = pydantic.Field(None, gt=0)
