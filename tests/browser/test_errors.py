"""The page shows the pack's own error messages to the user."""

from __future__ import annotations

from . import graphs
from .conftest import WRONG_FAMILY

GONE = "t2iadapter_depth_sd15v2.pth"


def test_an_adapter_of_another_family(page):
    page.open(graphs.drawing(adapter_name=f"{WRONG_FAMILY}.safetensors"))
    seen = page.run()
    assert seen["events"][-1][0] == "execution_error"
    panel = page.errors_panel()
    panel.get_by_test_id("runtime-error-panel").wait_for()
    panel.get_by_text("as made for SDXL").first.wait_for()
    told = panel.inner_text()
    assert "as made for SDXL" in told
    assert "Load a checkpoint that the adapter was made for" in told
    # The message must not begin with the pack's path on disk.
    assert "t2i_adapter.FamilyMismatchError: This adapter is for SDXL" in told
    assert f"{WRONG_FAMILY}.safetensors: got an adapter" in told


def test_a_missing_file(page):
    page.open(graphs.drawing(adapter_name=GONE))
    page.click_run()
    # The page itself detects the missing file; the server's reason is in the icon beside the input.
    panel = page.errors_panel()
    panel.get_by_text("Invalid input").first.wait_for()
    assert GONE in panel.inner_text()
    panel.get_by_role("button", name="adapter_name").last.wait_for()
    panel.get_by_role("button", name="Info for").click()
    told = panel.get_by_text(f"adapter_name '{GONE}': got no such file; expected one of")
    told.wait_for()
    assert "Put the file there and refresh the node definitions (R)." in told.inner_text()
