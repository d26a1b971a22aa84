"""Who imports whom, drawn from the source: floors and rooms in order, no circles, Beam and TensorFlow in their places."""

import ast
import collections
import functools

import pytest

from tests.support.source_tree import FLOORS, ROOT

#: Rooms of `pipelines`, from the ground up: a room imports itself and those before it.
ROOMS = (
    "pipelines.core",
    "pipelines.labels.sources",
    "pipelines.config",
    "pipelines.labels",
    "pipelines.clicks",
    "pipelines.validate",
    "pipelines.train",
    "pipelines.evaluate",
    "pipelines.explain",
    "pipelines.run",
    "pipelines.studies",
    "pipelines.report",
    "pipelines.retrain",
    "pipelines.cli",
)

#: The trained attribution mechanism: of `mal_tf.attribution` it alone may import TensorFlow.
TRAINED = ("mal_tf.attribution.attention_network",)

LONGEST = 350

#: Longer files, each with the reason; nothing may be added.
LONG_FILES = {}


def files():
    return sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, modules):
    """Full names that a file imports, with their lines; what only type checkers read is left out."""
    stack, found = [ast.parse(path.read_text(encoding="utf-8"))], {}
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
            stack.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.update({alias.name: node.lineno for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found[whole if whole in modules else node.module] = node.lineno
        stack.extend(ast.iter_child_nodes(node))
    return found


@functools.cache
def graph():
    """Module to the full names that it imports, with their lines."""
    paths = {name(path): path for path in files()}
    return {module: imports(path, paths) for module, path in paths.items()}


def circles(edges):
    """Groups of modules that import each other, by Tarjan's algorithm."""
    order, low, stack, found = {}, {}, [], []

    def visit(module):
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in edges[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1 or module in edges[module]:
                found.append(sorted(group))

    for module in edges:
        if module not in order:
            visit(module)
    return found


def within(module, package):
    return module == package or module.startswith(f"{package}.")


def place(module, places):
    """Index of the innermost of some packages that a module is in; None without."""
    holding = [package for package in places if within(module, package)]
    return places.index(max(holding, key=len)) if holding else None


def upward(places):
    return [
        f"{module}:{line} imports {other}"
        for module, found in graph().items()
        for other, line in found.items()
        if None not in (here := place(module, places), there := place(other, places)) and there > here
    ]


def importing(package, *, among, but=()):
    """Modules in `among`, save those of `but`, that import a package or what is in it."""
    return [
        f"{module}:{line} imports {other}"
        for module, found in graph().items()
        if within(module, among) and module not in but
        for other, line in found.items()
        if within(other, package)
    ]


def test_no_circle():
    ours = graph()
    assert circles({module: [other for other in found if other in ours] for module, found in ours.items()}) == []


def test_circles_are_found():
    edges = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["d", "a"]}
    assert circles(edges) == [["b", "c"], ["d"]]


@pytest.mark.parametrize("places", [FLOORS, ROOMS], ids=["floors", "rooms"])
def test_imports_go_down(places):
    assert upward(places) == []


def test_every_module_of_pipelines_is_in_a_room():
    outside = [module for module in graph() if within(module, "pipelines") and place(module, ROOMS) is None]
    assert outside == ["pipelines"]
    assert [path.name for path in (ROOT / "pipelines").glob("*.py")] == ["__init__.py"]


def test_tests_and_benchmarks_are_not_imported():
    found = [
        other for floor in FLOORS for outside in ("tests", "benchmarks") for other in importing(outside, among=floor)
    ]
    assert found == []


def test_tests_import_neither_tests_nor_benchmarks():
    """What they share is in `tests/support`; a benchmark's own tests import it."""
    paths = {name(path): path for path in (ROOT / "tests").rglob("*.py")}
    found = [
        f"{module} imports {other}"
        for module, path in paths.items()
        for other in imports(path, paths)
        if other.rpartition(".")[2].startswith("test_")
        or other.rpartition(".")[2] == "conftest"
        or (within(other, "benchmarks") and not within(module, "tests.benchmarks"))
    ]
    assert found == []


def test_beam_stays_in_pipelines():
    assert importing("apache_beam", among="features") + importing("apache_beam", among="mal_tf") == []


@pytest.mark.parametrize("package", ["tensorflow", "tf_keras", "features.keras2"])
def test_attribution_is_numpy(package):
    """Directly or through others, imports within functions aside, which is how the trained mechanism gets its network."""
    assert importing(package, among="mal_tf.attribution", but=TRAINED) == []
    at_once = collections.defaultdict(set)
    for module, path in {name(path): path for path in files()}.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                at_once[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                at_once[module] |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    reached = {module for module in graph() if within(module, "mal_tf.attribution") and module not in TRAINED}
    more = reached
    while more:
        more = {other for module in more for other in at_once[module]} - reached
        reached |= more
    assert not [module for module in reached if within(module, package)]


def test_files_are_short():
    parts = (*FLOORS, "tests", "benchmarks")
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for part in parts
        for path in (ROOT / part).rglob("*.py")
    }
    assert {path: length for path, length in lengths.items() if length > LONGEST and path not in LONG_FILES} == {}
    assert {path for path in LONG_FILES if lengths.get(path, 0) <= LONGEST} == set(), "short now: take them out"
