"""Measure the nodes of the workflows in ComfyUI's page, in both renderers."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from .convert import Document
from .layout import FLAT, STRETCHED

# By the renderer's name: the value of its setting.
RENDERERS = {"classic": False, "vue": True}
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.Persist": False, "Comfy.Locale": "en"}
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
WINDOW = {"width": 1600, "height": 1000}
PATIENCE = 120_000.0  # milliseconds
READY = """() => window.app?.extensionManager && app.vueAppReady && app.graph?.nodes.length
    && LiteGraph.registered_node_types.ApplyT2IAdapter"""
OPEN = "async ([graph, name]) => { await app.loadGraphData(graph, true, true, name, {openSource: 'template'}) }"
# Nodes that were run show their pictures and texts.
SHOW = """(outputs) => Object.entries(outputs).forEach(([node, output]) =>
    app.api.dispatchCustomEvent('executed', {node, display_node: node, output, prompt_id: 'measured'}))"""
# Boxes of the nodes with title bar, and of Nodes 2.0's parts outside of the node: [left, top, right, bottom].
BOXES = """() => {
    const {scale, offset} = app.canvas.ds
    const {left, top} = app.canvas.canvas.getBoundingClientRect()
    const box = (node) => {
        const html = document.querySelector(`[data-node-id='${node.id}']`)
        if (!html) {
            const [x, y, width, height] = node.boundingRect
            return [x, y, x + width, y + height]
        }
        const parts = [html, ...html.querySelectorAll(':scope > *')].map((part) => part.getBoundingClientRect())
            .filter((part) => part.width && part.height)
        const x = (value) => (value - left) / scale - offset[0], y = (value) => (value - top) / scale - offset[1]
        return [x(Math.min(...parts.map((part) => part.left))), y(Math.min(...parts.map((part) => part.top))),
            x(Math.max(...parts.map((part) => part.right))), y(Math.max(...parts.map((part) => part.bottom)))]
    }
    return Object.fromEntries(app.graph.nodes.map((node) => [node.id, box(node).map(Math.round)]))
}"""
# Pixels by which the texts of notes are longer than the notes; a textarea has the source of the text.
HIDDEN = """() => Object.fromEntries(app.graph.nodes.filter((node) => node.type === 'MarkdownNote').map((node) => {
    const html = document.querySelector(`[data-node-id='${node.id}']`) ?? node.widgets[0].element
    const parts = [html, ...html.querySelectorAll(':not(textarea)')]
    return [node.id, Math.max(...parts.map((part) => part.scrollHeight - part.clientHeight))]
}))"""


@contextmanager
def opened(url: str, renderer: str, chromium: Path) -> Iterator[Page]:
    """Yield ComfyUI's page.

    Args:
        url: The server's address.
        renderer: One of RENDERERS.
        chromium: The browser.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": WINDOW["width"], "height": WINDOW["height"]})
        for name, value in {**SETTINGS, "Comfy.VueNodes.Enabled": RENDERERS[renderer]}.items():
            context.request.post(f"{url}/settings/{name}", data=json.dumps(value))
        page = context.new_page()
        page.goto(url)
        page.wait_for_function(READY, timeout=PATIENCE)
        yield page
        browser.close()


def heights(page: Page, name: str, document: Document, outputs: Mapping[str, Any]) -> dict[int, int]:
    """Return the heights of a workflow's nodes, without title bars.

    Args:
        page: The page.
        name: Name of the workflow.
        document: The workflow.
        outputs: By node id: what it reported after a run; empty for a workflow that has just been opened.
    """
    page.evaluate(OPEN, [flattened(document), name])
    settle(page)
    if outputs:
        page.evaluate(SHOW, outputs)
        settle(page)
    found: dict[str, list[int]] = page.evaluate(BOXES)
    tops = {node["id"]: node["pos"][1] for node in document["nodes"]}
    hidden: dict[str, int] = page.evaluate(HIDDEN)
    return {int(node): box[3] - tops[int(node)] + hidden.get(node, 0) for node, box in found.items()}


def flattened(document: Document) -> Document:
    """Return a workflow whose nodes have their least heights, except those that show texts and pictures."""
    nodes = [
        node if node["type"] in STRETCHED else {**node, "size": [node["size"][0], FLAT]} for node in document["nodes"]
    ]
    return {**document, "nodes": nodes}


def settle(page: Page) -> None:
    """Wait until no node changes its size any more."""
    seen: list[Any] = []
    while len(seen) < 6 or any(one != seen[-1] for one in seen[-6:]):
        page.wait_for_timeout(150)
        seen.append(page.evaluate(BOXES))
        if len(seen) > 100:
            raise TimeoutError("page: got nodes that keep changing their sizes; expected them to stop within 15 s.")
