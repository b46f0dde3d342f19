"""The contact sheets of docs/control.md: each exists, is shown, and has the promised content."""

from __future__ import annotations

import torch
from t2i_adapter_pack.dev.demo import gallery
from t2i_adapter_pack.dev.tasks import paths


def test_every_sheet_exists_and_is_shown():
    text = (paths.ROOT / "docs" / "control.md").read_text(encoding="utf-8")
    for name in gallery.SHEETS:
        assert (gallery.OUT / f"{name}.jpg").is_file()
        assert f"(control/{name}.jpg)" in text
    assert len(list(gallery.OUT.iterdir())) == len(gallery.SHEETS)


def test_a_sheet_has_a_column_for_each_variant_and_a_row_for_each_scene():
    red, blue = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    columns = [("one", red.expand(2, 32, 64, 3)), ("two", blue.expand(2, 32, 64, 3))]
    made = gallery.sheet(columns)
    cell = (2 * gallery.CELL, gallery.CELL)
    assert made.size == (gallery.GAP + 2 * (cell[0] + gallery.GAP), gallery.HEAD + 2 * (cell[1] + gallery.GAP))
    for column, color in enumerate(((255, 0, 0), (0, 0, 255))):
        for row in range(2):
            left, top = gallery.GAP + column * (cell[0] + gallery.GAP), gallery.HEAD + row * (cell[1] + gallery.GAP)
            assert made.getpixel((left + cell[0] // 2, top + cell[1] // 2)) == color
    assert made.getpixel((2, gallery.HEAD + 5)) == gallery.PAPER
