"""Combination of the gradients of several losses: PCGrad and gradient-cosine weighting.

The gradient of a loss is a list with an entry per variable: a tensor, or None if the loss does not depend on the variable.
The first loss is that of the primary target.
"""

import functools
from collections.abc import Callable, Sequence

from features.keras2 import tf

Gradient = Sequence[tf.Tensor | None]

#: Term that PyMAL adds to avoid division by zero.
_EPSILON = 1e-8


def inner(first: Gradient, second: Gradient) -> tf.Tensor:
    """Inner product over the variables on which both losses depend."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return tf.add_n([tf.reduce_sum(a * b) for a, b in pairs]) if pairs else tf.constant(0.0)


def weighted_sum(weights: Sequence, gradients: Sequence[Gradient]) -> list[tf.Tensor | None]:
    """Σ_i w_i · g_i, for each variable over the losses that depend on it."""
    sums = []
    for variable_gradients in zip(*gradients, strict=True):
        terms = [w * g for w, g in zip(weights, variable_gradients, strict=True) if g is not None]
        sums.append(tf.add_n(terms) if terms else None)
    return sums


def pcgrad(gradients: Sequence[Gradient], orders: tf.Tensor) -> list[tf.Tensor | None]:
    """PCGrad as published (Yu et al., 2020, arXiv 2001.06782), on the concatenation of all variables, None being 0.

    For each i: p_i = g_i; for the other j in random order: if p_i · g_j < 0, p_i −= (p_i · g_j) / ‖g_j‖² · g_j. The result is
    Σ_i p_i. Since each p_i is a linear combination of the g_j, only the matrix of their inner products is needed.

    Args:
        gradients: gradient of each loss.
        orders: int [losses, losses], a permutation of the losses in each row.
    """
    count = len(gradients)
    upper = {(i, j): inner(gradients[i], gradients[j]) for i in range(count) for j in range(i, count)}
    products = tf.stack([tf.stack([upper[min(i, j), max(i, j)] for j in range(count)]) for i in range(count)])
    total = tf.zeros([count], products.dtype)
    for i in range(count):
        p = tf.one_hot(i, count, dtype=products.dtype)
        for turn in range(count):
            j = orders[i, turn]
            conflict = tf.minimum(tf.tensordot(p, products[:, j], 1), 0) * tf.cast(j != i, products.dtype)
            p -= tf.math.divide_no_nan(conflict, products[j, j]) * tf.one_hot(j, count, dtype=products.dtype)
        total += p
    return weighted_sum(tf.unstack(total), gradients)


def pcgrad_pymal(gradients: Sequence[Gradient]) -> list[tf.Tensor | None]:
    """PyMAL's PCGrad, separately for each variable, with auxiliary gradients projected only against the primary's.

    If g_m · g_i < 0: g_i −= (g_m · g_i) / (‖g_m‖² + 1e-8) · g_m. The result is g_m + Σ_i g_i.
    """
    primary, *auxiliaries = gradients

    def projected(main: tf.Tensor | None, own: tf.Tensor | None) -> tf.Tensor | None:
        if main is None or own is None:
            return own
        conflict = tf.minimum(tf.reduce_sum(main * own), 0)
        return own - conflict / (tf.reduce_sum(main * main) + _EPSILON) * main

    kept = [[projected(*pair) for pair in zip(primary, own, strict=True)] for own in auxiliaries]
    return weighted_sum([1] * len(gradients), [primary, *kept])


def cosine(first: Gradient, second: Gradient) -> tf.Tensor:
    """Cosine over the variables on which both losses depend; 0 if there are none or a gradient is 0."""
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    first, second = [a for a, _ in both], [b for _, b in both]
    return tf.math.divide_no_nan(inner(first, second), tf.sqrt(inner(first, first)) * tf.sqrt(inner(second, second)))


def gcs(gradients: Sequence[Gradient]) -> list[tf.Tensor | None]:
    """Gradient-cosine weighting as published (Du et al., 2018, arXiv 1812.02224): g_m + Σ_i max(0, cos(g_m, g_i)) · g_i.

    Variables on which the primary loss does not depend, such as auxiliary heads, get Σ_i g_i.
    """
    primary, *auxiliaries = gradients
    weights = [tf.maximum(cosine(primary, own), 0) for own in auxiliaries]
    shared = weighted_sum([1, *weights], gradients)
    alone = weighted_sum([1] * len(gradients), gradients)
    return [b if main is None else a for main, a, b in zip(primary, shared, alone, strict=True)]


def gcs_pymal(gradients: Sequence[Gradient]) -> list[tf.Tensor | None]:
    """PyMAL's GCS, with σ(cos) instead of max(0, cos).

    For variables without a primary gradient, the first auxiliary gradient is not weighted, and later ones are.
    """
    primary, *auxiliaries = gradients
    weights = [1, *(tf.sigmoid(cosine(primary, own)) for own in auxiliaries)]
    sums = []
    for variable_gradients in zip(*gradients, strict=True):
        terms = [(w, g) for w, g in zip(weights, variable_gradients, strict=True) if g is not None]
        sums.append(tf.add_n([terms[0][1], *(w * g for w, g in terms[1:])]) if terms else None)
    return sums


def on_touched_rows(
    combine: Callable[[Sequence[Gradient]], Gradient],
    gradients: Sequence[Sequence[tf.Tensor | tf.IndexedSlices | None]],
    ends: Sequence[Sequence[int] | None] | None = None,
) -> list[tf.Tensor | tf.IndexedSlices | None]:
    """Applies `combine` to gradients, keeping those of embedding tables as sparse as the batch.

    The gradients of a table become dense over the rows that occur for any loss, which preserves inner products, since the
    other rows are 0. `combine` gets the tables that are stacked in one variable as separate variables.

    Args:
        combine: function that combines gradients, one of this module.
        gradients: gradient of each loss.
        ends: for each variable that is a stack of tables, the row after the last one of each table.
    """
    compact: list[Sequence[tf.Tensor | None]] = []
    touched: list[tuple[list[tf.Tensor], tf.Tensor] | None] = []
    for index, variable_gradients in enumerate(zip(*gradients, strict=True)):
        sparse = [g for g in variable_gradients if isinstance(g, tf.IndexedSlices)]
        if len(sparse) < sum(g is not None for g in variable_gradients) or not sparse:
            touched.append(None)
            compact.append([None if g is None else tf.convert_to_tensor(g) for g in variable_gradients])
            continue
        rows, position = tf.unique(tf.concat([g.indices for g in sparse], axis=0))
        positions = iter(tf.split(position, [tf.size(g.indices) for g in sparse]))
        tables = (ends and ends[index]) or [rows.dtype.max]
        partition = functools.partial(
            tf.dynamic_partition,
            partitions=tf.searchsorted(tf.constant(tables, rows.dtype), rows, side="right"),
            num_partitions=len(tables),
        )
        touched.append((partition(rows), sparse[0].dense_shape))
        by_table = [
            [None] * len(tables)
            if g is None
            else partition(tf.math.unsorted_segment_sum(g.values, next(positions), tf.size(rows)))
            for g in variable_gradients
        ]
        compact += zip(*by_table, strict=True)
    combined = iter(combine(list(zip(*compact, strict=True))))
    results = []
    for table_rows in touched:
        if table_rows is None:
            results.append(next(combined))
        else:
            rows, shape = table_rows
            values = tf.concat([next(combined) for _ in rows], axis=0)
            results.append(tf.IndexedSlices(values, tf.concat(rows, axis=0), shape))
    return results
