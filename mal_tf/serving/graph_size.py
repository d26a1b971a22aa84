"""How large a graph is: parameters and operations."""

from features.keras2 import tf


def graph_size(function: tf.types.experimental.ConcreteFunction) -> dict[str, int]:
    """Counts what a traced function holds, the functions it calls included.

    Returns:
        `{"parameters": values in all variables it reads, "ops": operations}`. Lookup tables are no parameters.
    """
    graph = function.graph.as_graph_def()
    ops = len(graph.node) + sum(len(called.node_def) for called in graph.library.function)
    return {"parameters": sum(variable.shape.num_elements() for variable in function.variables), "ops": ops}
