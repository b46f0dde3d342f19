"""ComfyUI's page in a headless browser, used through keys, clicks and visible content."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page

RENDERERS = {"classic": False, "Nodes 2.0": True}
# Settings for a page that shows only the graph and remembers nothing.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Workflow.Persist": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # draw texts at all sizes
}
SIZE = {"width": 1600, "height": 1000}
# Time limits in milliseconds on a busy machine: for actions of the page, and of the server.
SOON, LATER = 20_000.0, 120_000.0
# Number of tries.
PATIENCE = 5
EMPTY = {"nodes": [], "links": [], "version": 0.4, "last_node_id": 0, "last_link_id": 0}

READY = """() => window.app?.extensionManager && app.vueAppReady && app.graph?.nodes.length
    && LiteGraph.registered_node_types.ApplyT2IAdapter"""
WATCH = """() => {
    window.seen = {events: [], titles: []}
    for (const kind of ['progress', 'execution_success', 'execution_error', 'execution_interrupted'])
        app.api.addEventListener(kind, (event) => seen.events.push([kind, event.detail]))
    new MutationObserver(() => seen.titles.push(document.title))
        .observe(document.querySelector('title'), {childList: true})
}"""
ENDED = "() => seen.events.some(([kind]) => kind.startsWith('execution_'))"
OPEN = "async ([graph, name]) => { await app.loadGraphData(graph, true, true, name) }"
OPEN_API = """async ([workflow, name]) => {
    await app.loadApiJson(workflow, name)
    for (const widget of app.graph.nodes.flatMap((node) => node.widgets ?? []))
        if (widget.name === 'control_after_generate') widget.value = 'fixed'
}"""
TITLE_OF = """(id) => {
    const node = app.graph.getNodeById(id)
    const [x, y] = app.canvas.ds.convertOffsetToCanvas([node.pos[0] + 60, node.pos[1] - 15])
    const {left, top} = app.canvas.canvas.getBoundingClientRect()
    return [x + left, y + top]
}"""
SELECTED = "(id) => [...app.canvas.selectedItems].some((item) => String(item.id) === id)"
# The page fits its view to the last drawn positions of nodes.
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
VIEW = "() => [app.canvas.ds.scale, ...app.canvas.ds.offset]"
GRAPH = "() => JSON.stringify(app.graph.serialize().nodes)"
IN_VIEW = """() => {
    const [left, top, width, height] = app.canvas.ds.visible_area
    return app.graph.nodes.every(({pos, size}) => pos[0] >= left && pos[1] >= top
        && pos[0] + size[0] <= left + width && pos[1] + size[1] <= top + height)
}"""
VALUES = """(type) => app.graph.nodes.filter((node) => node.type === type)
    .map((node) => Object.fromEntries(node.widgets.map((widget) => [widget.name, widget.value])))"""


class ComfyPage:
    """One window of ComfyUI, in a browser profile of its own.

    Args:
        browser: a running browser.
        url: the server's address.
        screenshots: where pictures of the page go.
    """

    def __init__(self, browser: Browser, url: str, screenshots: Path) -> None:
        self.url, self.screenshots = url, screenshots
        self.errors: list[str] = []
        self.context = browser.new_context(viewport=SIZE)
        self.context.set_default_timeout(SOON)
        for name, value in SETTINGS.items():
            self.context.request.post(f"{url}/settings/{name}", data=json.dumps(value))
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_function(READY, timeout=LATER)
        self.page.evaluate(WATCH)

    def close(self) -> None:
        """Close the window."""
        self.context.close()

    def use(self, renderer: str) -> None:
        """Select one of RENDERERS, like the switch in ComfyUI's menu."""
        on = RENDERERS[renderer]
        self.page.evaluate("(on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", on)
        self.open(EMPTY)
        self.page.evaluate("() => app.extensionManager.setting.set('Comfy.RightSidePanel.IsOpen', false)")

    @property
    def is_vue(self) -> bool:
        """Whether nodes are drawn as HTML."""
        return bool(self.page.evaluate("() => LiteGraph.vueNodesMode"))

    def open(self, graph: Mapping[str, Any], name: str | None = None) -> None:
        """Open a workflow, in the page's own format or the API's, and show all of it."""
        self.page.evaluate(OPEN if "nodes" in graph else OPEN_API, [graph, name])
        self.show_all()

    def show_all(self) -> None:
        """Fit the graph to the window, with the key for it."""
        self.page.evaluate("() => app.canvas.canvas.focus()")
        if self.page.evaluate("() => app.graph.nodes.length"):
            self.insist(self._fit, lambda timeout: self.page.wait_for_function(IN_VIEW, timeout=timeout))

    def _fit(self) -> None:
        self.page.evaluate(DRAWN)
        self.page.keyboard.press(".")
        self.settle(VIEW, 2)

    def settle(self, what: str = GRAPH, rounds: int = 10) -> None:
        """Wait until a value stops changing, for example node sizes or the view.

        Args:
            what: JavaScript function that returns it.
            rounds: Number of equal values in a row, each 0.1 s or two frames apart.
        """
        seen: list[Any] = []
        while len(seen) <= rounds or any(one != seen[-1] for one in seen[-rounds:]):
            assert len(seen) < 200, "it never stood still"
            self.page.wait_for_timeout(100)
            self.page.evaluate(DRAWN)
            seen.append(self.page.evaluate(what))

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def select(self, node: str) -> None:
        """Click on a node's title."""
        self.insist(
            lambda: self.page.mouse.click(*self.page.evaluate(TITLE_OF, node)),
            lambda timeout: self.page.wait_for_function(SELECTED, arg=node, timeout=timeout),
        )

    def insist(self, action: Callable[[], object], seen: Callable[[float], object]) -> None:
        """Repeat an action until its effect is visible, since a busy page loses clicks.

        Args:
            action: The action; repeating it must be harmless.
            seen: Waits for the effect, at most this many milliseconds.
        """
        from playwright.sync_api import TimeoutError as Unseen

        for _ in range(PATIENCE - 1):
            action()
            with suppress(Unseen):
                seen(SOON / PATIENCE)
                return
        action()
        seen(SOON)

    def node(self, title: str) -> str:
        """Return the id of the node with a title."""
        return str(self.page.evaluate("(title) => app.graph.nodes.find((node) => node.title === title).id", title))

    def values(self, kind: str) -> list[dict[str, Any]]:
        """Return the widgets' values of all nodes of a kind."""
        found: list[dict[str, Any]] = self.page.evaluate(VALUES, kind)
        return found

    def prompt(self) -> dict[str, Any]:
        """Return the prompt that Run would send."""
        found: dict[str, Any] = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        return found

    @contextmanager
    def running(self) -> Iterator[dict[str, Any]]:
        """Click Run, execute the block meanwhile, and wait for the end; fills the yielded dictionary."""
        self.page.evaluate("() => { seen.events.length = seen.titles.length = 0 }")
        found: dict[str, Any] = {}
        self.click_run()
        yield found
        self.page.wait_for_function(ENDED, timeout=LATER)
        found.update(self.page.evaluate("() => seen"))

    def run(self) -> dict[str, Any]:
        """Click Run and wait for the end.

        Returns:
            `events`, the server's messages as pairs of type and content, and the window's `titles` during the run.
        """
        with self.running() as seen:
            pass
        return seen

    def click_run(self) -> None:
        """Click Run."""
        self.page.get_by_test_id("queue-button").click()

    def pictures(self) -> dict[str, list[np.ndarray]]:
        """Return the pictures that the last run reported, by the node's id, as (H, W, 3) bytes."""
        outputs: dict[str, Any] = self.page.evaluate("() => app.nodeOutputs")
        return {
            str(node): [self.fetch(image) for image in output["images"]]
            for node, output in outputs.items()
            # Without Load Image's pictures and videos.
            if output.get("images") and output["images"][0]["type"] != "input" and not any(output.get("animated", ()))
        }

    def fetch(self, image: Mapping[str, str]) -> np.ndarray:
        """Return a picture that the server has, as (H, W, 3) bytes."""
        answer = self.context.request.get(f"{self.url}/view", params=dict(image))
        assert answer.ok, answer.status_text
        return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB"))

    def shown(self, node: str) -> None:
        """Wait until a node shows its pictures."""
        if self.is_vue:
            self.drawn(node).locator("img").first.wait_for()
            arrived = (
                "(id) => [...document.querySelectorAll(`[data-node-id='${id}'] img`)].every((i) => i.naturalWidth)"
            )
        else:
            arrived = "(id) => app.graph.getNodeById(id).imgs?.every((image) => image.naturalWidth)"
        self.page.wait_for_function(arrived, arg=node)

    def drawn(self, node: str) -> Locator:
        """Return a node's HTML, with Nodes 2.0."""
        return self.page.locator(f"[data-node-id='{node}']")

    def complaints(self) -> list[str]:
        """Return the messages of ComfyUI's error overlay."""
        return self.page.get_by_test_id("error-overlay").all_inner_texts()

    def errors_panel(self) -> Locator:
        """Open the panel of errors."""
        self.page.get_by_test_id("error-overlay-see-errors").click()
        return self.page.get_by_test_id("properties-panel")

    def screenshot(self, name: str) -> None:
        """Save a screenshot."""
        self.page.screenshot(path=self.screenshots / f"{name}.png")
