"""Size of a TensorFlow graph in parameters and operations."""

from features.keras2 import tf


def graph_size(function: tf.types.experimental.ConcreteFunction) -> dict[str, int]:
    """Counts parameters and operations of a traced function, including the functions that it calls.

    Returns:
        `{"parameters": number of values in all variables, "ops": number of operations}`. Lookup tables are not counted as
        parameters.
    """
    graph = function.graph.as_graph_def()
    ops = len(graph.node) + sum(len(called.node_def) for called in graph.library.function)
    return {"parameters": sum(variable.shape.num_elements() for variable in function.variables), "ops": ops}
