"""Losses of the targets: which label and weight a click has, and the weighted mean they are used in."""

from features.keras2 import keras, tf
from mal_tf.training import replicas


def target_and_weight(label: tf.Tensor, loss: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns attribution labels into targets and weights of the binary cross-entropy.

    Args:
        label: l, float [batch], in [0, 1].
        loss: `weighted`: y = 1[l > 0], w = l for positives and 1 for negatives (MAL, arXiv 2508.15217);
            `soft`: y = l, w = 1; `binary` and `pymal`: y = 1[l > 0], w = 1.

    Returns:
        y and w, float [batch].
    """
    if loss == "soft":
        return label, tf.ones_like(label)
    positive = label > 0
    target = tf.cast(positive, label.dtype)
    return target, tf.where(positive, label, 1.0) if loss == "weighted" else tf.ones_like(label)


def cat_class(labels: list[tf.Tensor]) -> tf.Tensor:
    """CAT class Σ_i 1[l_i > 0]·2^i of labels in configured order: float [batch] each to int32 [batch]."""
    return tf.add_n([tf.cast(label > 0, tf.int32) * 2**bit for bit, label in enumerate(labels)])


def share(weight: tf.Tensor) -> tf.Tensor:
    """Weights divided by their sum, so that Σ share·loss = Σ w·loss / Σ w; all 0 if the weights are.

    Both sums are over the whole batch: where replicas have shares of it, their losses add up.
    """
    (total,) = replicas.total([tf.reduce_sum(weight)])
    return tf.math.divide_no_nan(weight, total)


class FlooredCrossEntropy(keras.losses.Loss):
    """−log(p + 1e-8), p the probability that the logits give the true class: PyMAL's loss, at most 18.42.

    Args:
        cat: whether classes are CAT's: targets int [batch], logits [batch, classes]; else both are [batch, 1].
    """

    def __init__(self, cat: bool):
        super().__init__(reduction=keras.losses.Reduction.SUM)
        self._cat = cat

    def call(self, target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Loss of each click, float [batch]."""
        if self._cat:
            p = tf.gather(tf.nn.softmax(logits), tf.cast(target, tf.int32), batch_dims=1)
        else:
            p = tf.sigmoid(tf.where(target > 0, logits, -logits))[:, 0]
        return -tf.math.log(p + 1e-8)


def cross_entropy(cat: bool, loss: str = "binary") -> keras.losses.Loss:
    """Summed cross-entropy from logits, binary or over CAT classes; for `pymal` see `FlooredCrossEntropy`."""
    if loss == "pymal":
        return FlooredCrossEntropy(cat)
    kind = keras.losses.SparseCategoricalCrossentropy if cat else keras.losses.BinaryCrossentropy
    return kind(from_logits=True, reduction=keras.losses.Reduction.SUM)
