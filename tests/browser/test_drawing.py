"""Both renderers draw every node with all its widgets and the values that the server declares."""

from __future__ import annotations

from .test_search import NODES

SHOW = """(kinds) => {
    kinds.forEach((kind, index) => {
        const node = LiteGraph.createNode(kind)
        app.graph.add(node)
        node.pos = [(index % 7) * 420, Math.floor(index / 7) * 520]
    })
}"""
WIDGETS = """() => Object.fromEntries(app.graph.nodes.map((node) =>
    [node.type, (node.widgets ?? []).map((widget) => [widget.name, widget.value])]))"""


def declared(info):
    """Names and defaults of the widget inputs, as the server declares them."""
    found = {}
    for group in ("required", "optional"):
        for name, (kind, options) in info["input"].get(group, {}).items():
            if kind in ("INT", "FLOAT", "BOOLEAN", "STRING"):
                found[name] = options["default"]
            elif kind == "COMBO":
                found[name] = options.get("default", next(iter(options["options"]), None))
            elif kind == "COMFY_DYNAMICCOMBO_V3":
                found[name] = options["options"][0]["key"]
    return found


def test_all_nodes_are_drawn_with_their_widgets(page, stage):
    info = stage.get("/object_info")
    page.page.evaluate(SHOW, NODES)
    page.show_all()
    drawn = page.page.evaluate(WIDGETS)
    assert {kind: dict(widgets) for kind, widgets in drawn.items()} == {kind: declared(info[kind]) for kind in NODES}
    if page.is_vue:
        for kind in NODES:
            node = page.page.evaluate("(kind) => String(app.graph.nodes.find((node) => node.type === kind).id)", kind)
            seen = page.drawn(node).inner_text()
            inputs = {**info[kind]["input"].get("required", {}), **info[kind]["input"].get("optional", {})}
            rare = {name for name, (_, *options) in inputs.items() if options and options[0].get("advanced")}
            assert {name for name, _ in drawn[kind] if name not in seen} == rare
            assert len(drawn[kind]) - len(rare) <= 6
            assert ("Show advanced inputs" in seen) == bool(rare)
