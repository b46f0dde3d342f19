"""The graph of our imports: no circles, faces that import no faces, and a seam that is a leaf."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
PACKAGES = ("common", "adapter_models", "annotators", "training", "nodes", "cli", "dev")
# All that the seam, nodes/host, may import of ours. Keep it small.
HOST_KNOWS = {"adapter_models.errors", "adapter_models.families", "training.errors"}
# Modules in nodes/ that all faces share; every other one is a face.
CONTRACT = {"nodes", "nodes.advice", "nodes.inputs", "nodes.search_words", "nodes.sockets"}
ROOMS = {f"nodes.{path.parent.name}" for path in (ROOT / "nodes").glob("*/__init__.py")}


def is_face(module: str) -> bool:
    """Tell whether a module is a face: directly in nodes/, and not part of the contract that all faces share."""
    return module.startswith("nodes.") and module.count(".") == 1 and module not in CONTRACT | ROOMS


def our_sources() -> dict[str, tuple[str, bool]]:
    """Return the source of every shipped and workshop module, and whether it is a package, by dotted name."""
    folders = [ROOT / name for name in PACKAGES if (ROOT / name).is_dir()]
    found = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        package = parts[-1] == "__init__"
        found[".".join(parts[:-1] if package else parts)] = (path.read_text(encoding="utf-8"), package)
    return found


def import_graph(sources: dict[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """Return the modules of ours that each module imports when it is imported itself.

    Args:
        sources: source, and whether it is a package, by dotted name.
    """
    return {name: {target for target in relative_imports(name, source, package) if target in sources}
            for name, (source, package) in sources.items()}  # fmt: skip


def relative_imports(name: str, source: str, package: bool) -> Iterator[str]:
    """Yield what a module imports relatively outside of functions: modules, and names that may be modules."""
    folder = name.split(".") if package else name.split(".")[:-1]
    for node in at_module_level(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folder[: len(folder) - (node.level - 1)]
            base += node.module.split(".") if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)
            if node.module:
                yield ".".join(base)


def at_module_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree that are not inside a function."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from at_module_level(node)


def import_circles(graph: dict[str, set[str]]) -> list[str]:
    """Return one line for each circle that a walk along the imports meets."""
    done: set[str] = set()
    found: list[str] = []

    def walk(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            found.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for target in sorted(graph[name]):
                walk(target, (*trail, name))
            done.add(name)

    for name in graph:
        walk(name, ())
    return found


def forbidden_imports(graph: dict[str, set[str]]) -> list[str]:
    """Return one line for each face that a face or machinery of nodes/ imports, and each import out of the seam."""
    found = []
    for name, targets in graph.items():
        if name.startswith("nodes."):
            found += [f"{name} imports the face {target}" for target in targets if is_face(target)]
        if f"{name}/".startswith(("nodes.host/", "nodes.host.")):
            above = {target for target in targets if not f"{target}/".startswith(("nodes.host/", "nodes.host."))}
            found += [f"{name} imports {target}: the seam is a leaf" for target in above - HOST_KNOWS]
    return found


def graph_of(**sources: str) -> dict[str, set[str]]:
    """Return the graph of a few modules; underscores in names stand for dots, and all are plain modules."""
    return import_graph({name.replace("_", "."): (source, False) for name, source in sources.items()})


def test_no_import_runs_in_a_circle():
    graph = import_graph(our_sources())
    assert sum(map(len, graph.values())) > len(graph) > 100
    assert import_circles(graph) == []


def test_no_face_is_imported_by_other_nodes_and_the_seam_is_a_leaf():
    graph = import_graph(our_sources())
    assert {"nodes.apply", "nodes.annotate_for", "nodes.train"} < {name for name in graph if is_face(name)}
    assert forbidden_imports(graph) == []


def test_the_seam_may_import_no_more_than_it_does():
    graph = import_graph(our_sources())
    used = {target for name, targets in graph.items() if name.startswith("nodes.host") for target in targets}
    assert used >= HOST_KNOWS


def test_circles_are_found_unless_a_function_opens_them():
    back = "from . import b"
    assert import_circles(graph_of(dev_a=back, dev_b="from .a import x")) == ["dev.a -> dev.b -> dev.a"]
    assert import_circles(graph_of(dev_a="class A:\n    from . import b", dev_b="from .a import x"))
    assert import_circles(graph_of(dev_a=back, dev_b="from .c import x", dev_c="from ..dev.a import y"))
    assert import_circles(graph_of(dev_a=back, dev_b="def f():\n    from .a import x")) == []


def test_imports_of_faces_and_out_of_the_seam_are_found():
    face = {"nodes_load": "x = 1", "nodes_inputs": "x = 1", "training_loop": "x = 1", "training_errors": "x = 1"}
    for source in ("from .load import x", "from . import load"):
        assert len(forbidden_imports(graph_of(nodes_apply=source, **face))) == 1
    assert len(forbidden_imports(graph_of(nodes_annotation_lines="from ..load import x", **face))) == 1
    assert len(forbidden_imports(graph_of(nodes_host_page="from ...training.loop import x", **face))) == 1
    assert len(forbidden_imports(graph_of(nodes_host_page="from ..inputs import x", **face))) == 1
    assert forbidden_imports(graph_of(nodes_host_page="from ...training.errors import x", **face)) == []
    assert forbidden_imports(graph_of(nodes_apply="from .inputs import x", **face)) == []
