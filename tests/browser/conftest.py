"""The real page on the real server. One window per test file, both renderers, one screenshot per test."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from t2i_adapter_miniature import measure
from t2i_adapter_pack.dev.demo import cases
from t2i_adapter_pack.dev.tasks import browser as browsers
from t2i_adapter_pack.dev.tasks import paths

from ..adapter_models import samples
from .comfy_page import RENDERERS, ComfyPage

SCREENSHOTS = paths.STATE / "screenshots"
# The page may send requests only to the tests' server.
FLAGS = (
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
SKETCH = "sketch-1.png"  # as the demo's workflow files call it
WRONG_FAMILY = "sketch-for-sdxl"


def pytest_itemcollected(item: pytest.Item) -> None:
    """All tests here need a browser, and ComfyUI."""
    item.add_marker(pytest.mark.browser)
    item.add_marker(pytest.mark.host)


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """An empty folder for this session's screenshots."""
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir(parents=True)
    return SCREENSHOTS


@pytest.fixture(scope="session")
def stage(comfy_server) -> Any:
    """The server with a sketch to load, and an adapter that fits no checkpoint here."""
    (case,) = cases.from_scenes(measure.held_out(1), 128)
    Path(comfy_server.base, "input", SKETCH).write_bytes(case.png())
    config = samples.xl(1, channels=(32, 64, 128, 128))
    samples.save(Path(comfy_server.base, "models", "controlnet"), samples.weights(config), name=WRONG_FAMILY)
    return comfy_server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A running browser. Not session-wide, since its event loop excludes others in this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browsers.find(os.environ), args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def window(chromium, stage, screenshots) -> Iterator[ComfyPage]:
    """A window with ComfyUI."""
    page = ComfyPage(chromium, stage.url, screenshots)
    yield page
    page.close()


@pytest.fixture(params=[pytest.param(name, id=name.replace(" ", "")) for name in RENDERERS])
def page(window, request) -> Iterator[ComfyPage]:
    """The window with an empty graph, drawn in each way."""
    yield from on_stage(window, request.param, request.node.name)


@pytest.fixture
def classic(window, request) -> Iterator[ComfyPage]:
    """The window with an empty graph, for tests that do not depend on the renderer."""
    yield from on_stage(window, "classic", request.node.name)


def on_stage(window: ComfyPage, renderer: str, name: str) -> Iterator[ComfyPage]:
    """Yield the window, save a last screenshot, and fail if a script of the page threw an error."""
    window.use(renderer)
    window.errors.clear()
    yield window
    window.screenshot(re.sub(r"\W+", "-", name).strip("-"))
    assert window.errors == []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say where the screenshots are."""
    if SCREENSHOTS.is_dir():
        count = len(list(SCREENSHOTS.glob("*.png")))
        terminalreporter.write_line(f"{count} screenshots of ComfyUI's page: {SCREENSHOTS}")
