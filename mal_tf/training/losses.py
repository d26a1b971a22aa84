"""Losses of the targets: targets and weights from attribution labels, CAT classes, and cross-entropies.

Example:
    >>> import mal_tf, tensorflow as tf
    >>> label, logit = tf.constant([0.0, 0.4]), tf.constant([-2.0, 0.0])
    >>> target, weight = mal_tf.losses.target_and_weight(label, "weighted")
    >>> loss = mal_tf.losses.cross_entropy(cat=False)
    >>> round(float(loss(target[:, None], logit[:, None], mal_tf.losses.share(weight))), 4)
    0.2887
"""

from features.keras2 import keras, tf
from mal_tf.training import replicas

__all__ = ["FlooredCrossEntropy", "cat_class", "cross_entropy", "share", "target_and_weight"]


def target_and_weight(label: tf.Tensor, loss: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Converts attribution labels to targets and weights of the binary cross-entropy.

    Args:
        label: l, float [batch], in [0, 1].
        loss: kind of the loss. `weighted` has y = 1[l > 0] and w = l for positives, 1 for negatives (MAL, arXiv 2508.15217);
            `soft` has y = l and w = 1; `binary` and `pymal` have y = 1[l > 0] and w = 1.

    Returns:
        Targets y and weights w, float [batch].

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> target, weight = mal_tf.losses.target_and_weight(tf.constant([0.0, 0.4]), "weighted")
        >>> target.numpy(), weight.numpy()
        (array([0., 1.], dtype=float32), array([1. , 0.4], dtype=float32))
    """
    if loss == "soft":
        return label, tf.ones_like(label)
    positive = label > 0
    target = tf.cast(positive, label.dtype)
    return target, tf.where(positive, label, 1.0) if loss == "weighted" else tf.ones_like(label)


def cat_class(labels: list[tf.Tensor]) -> tf.Tensor:
    """CAT class Σ_i 1[l_i > 0]·2^i of labels in configured order (MAL, arXiv 2508.15217): float [batch] each to int32 [batch].

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> first, last = tf.constant([1.0, 0.0]), tf.constant([0.5, 1.0])
        >>> mal_tf.losses.cat_class([first, last]).numpy().tolist()
        [3, 2]
    """
    return tf.add_n([tf.cast(label > 0, tf.int32) * 2**bit for bit, label in enumerate(labels)])


def share(weight: tf.Tensor) -> tf.Tensor:
    """Divides weights, float [batch], by their sum, so that Σ share·loss = Σ w·loss / Σ w; 0 if all weights are 0.

    The sum is over the whole batch. If it is split among replicas, their losses add up.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> mal_tf.losses.share(tf.constant([1.0, 3.0])).numpy().tolist()
        [0.25, 0.75]
    """
    (total,) = replicas.total([tf.reduce_sum(weight)])
    return tf.math.divide_no_nan(weight, total)


@keras.utils.register_keras_serializable("mal_tf")
class FlooredCrossEntropy(keras.losses.Loss):
    """PyMAL's cross-entropy, −log(p + 1e-8) with p the predicted probability of the true class, which is at most 18.42.

    Args:
        cat: whether the classes are CAT classes, with targets int [batch] and logits [batch, classes]; otherwise both are
            [batch, 1].
        reduction: see Keras' `Loss`.
        name: see Keras' `Loss`.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> loss = mal_tf.losses.FlooredCrossEntropy(cat=False)
        >>> round(float(loss(tf.constant([[1.0]]), tf.constant([[-100.0]]))), 2)
        18.42
    """

    def __init__(self, cat: bool, reduction: str = keras.losses.Reduction.SUM, name: str | None = None):
        super().__init__(reduction=reduction, name=name)
        self._cat = cat

    def call(self, target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Loss of each click, float [batch]."""
        if self._cat:
            p = tf.gather(tf.nn.softmax(logits), tf.cast(target, tf.int32), batch_dims=1)
        else:
            p = tf.sigmoid(tf.where(target > 0, logits, -logits))[:, 0]
        return -tf.math.log(p + 1e-8)

    def get_config(self) -> dict:
        """See base class."""
        return super().get_config() | {"cat": self._cat}


def cross_entropy(cat: bool, loss: str = "binary") -> keras.losses.Loss:
    """Summed cross-entropy of logits, binary or over CAT classes; `FlooredCrossEntropy` if `loss` is `pymal`.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> loss = mal_tf.losses.cross_entropy(cat=False)
        >>> round(float(loss(tf.constant([[1.0]]), tf.constant([[0.0]]))), 4)
        0.6931
    """
    if loss == "pymal":
        return FlooredCrossEntropy(cat)
    kind = keras.losses.SparseCategoricalCrossentropy if cat else keras.losses.BinaryCrossentropy
    return kind(from_logits=True, reduction=keras.losses.Reduction.SUM)
