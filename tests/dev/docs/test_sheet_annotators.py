"""The contact sheet shows every annotator without weights, and one command redraws it."""

import pytest
from PIL import Image, ImageChops
from t2i_adapter_pack.dev.figures import sheet_annotators


@pytest.mark.workshop
def test_the_committed_sheet_equals_a_redrawn_one(tmp_path):
    assert sheet_annotators.main([str(tmp_path / "sheet.png")]) == 0
    made = Image.open(tmp_path / "sheet.png")
    kept = Image.open(sheet_annotators.OUT)
    assert made.size == kept.size
    # Only what JPEG loses differs.
    difference = ImageChops.difference(made, kept).convert("L").resize((made.width // 8, made.height // 8))
    assert max(difference.get_flattened_data()) < 60
