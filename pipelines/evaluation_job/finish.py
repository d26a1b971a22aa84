"""Last step of the evaluation job: sums to `metrics.json`, and the manifest, by the pipeline itself."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from apache_beam.io.filesystems import FileSystems

from mal_tf.evaluation import by_user, exact
from mal_tf.evaluation.bootstrap import Resampled, differences
from mal_tf.evaluation.by_range import RangeSums
from mal_tf.evaluation.by_user import UserSums
from pipelines import files, manifest
from pipelines.evaluation_job.plan import Plan
from pipelines.evaluation_job.steps import Scope


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over all clicks; groups as in `Scope`.

    Attributes:
        users: sums over users.
        ranges: by model, sums over ranges.
    """

    users: UserSums
    ranges: Mapping[int, RangeSums]

    def resampled(self, model: int, group: int) -> Resampled:
        """As `mal_tf.evaluation.bootstrap.resampled` gives it, with draws of its own."""
        own = by_user.OF_MODEL + 3 * model
        return {
            "auc": self.ranges[model].auc()[group],
            "gauc": self.users.ratio(own + by_user.AUC, by_user.BOTH_CLICKS)[group],
            "log_loss": self.users.ratio(own + by_user.LOSS, by_user.CLICKS)[group],
            "pcoc": self.users.ratio(own + by_user.PREDICTION, by_user.LABEL)[group],
        }

    def metrics(self, model: int, group: int) -> dict[str, float]:
        """As `mal_tf.evaluation.metrics.metrics_or_nan` gives them."""
        whole = {name: values[0] for name, values in self.resampled(model, group).items()}
        clicks, positives, both = (
            int(exact.number(self.users.whole[group, column]))
            for column in (by_user.CLICKS, by_user.POSITIVES, by_user.BOTH_USERS)
        )
        apart = [abs(exact.number(sum_)) for sum_ in np.subtract(*self.ranges[model].bins[:, group])]
        return {
            "clicks": clicks,
            "positives": positives,
            "auc": whole["auc"],
            "gauc": whole["gauc"],
            "gauc_users": both,
            "log_loss": whole["log_loss"],
            "pcoc": whole["pcoc"],
            "ece": sum(apart) / clicks if clicks else float("nan"),
        }
