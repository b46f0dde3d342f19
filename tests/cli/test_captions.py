"""Captions in training data: literal by default, prompts on request; older runs can be resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from t2i_adapter_pack.training.checkpoints import load_state
from t2i_adapter_pack.training.rows import read_row

pytestmark = pytest.mark.host
CAPTION = r"a (red:3) circle \(left\)"


def is_cached(tmp_path: Path, embedding: torch.Tensor) -> bool:
    files = (tmp_path / "runs" / "cache").rglob("*.safetensors")
    return any(torch.equal(read_row(file, 0, {})["c_crossattn"], embedding.half()) for file in files)


def test_captions_are_literal_unless_weights_are_asked_for(command, pictures, miniature, tmp_path):
    from t2i_adapter_pack.cli.encode import read_checkpoint

    (pictures / "000.txt").write_text(CAPTION)
    assert command(steps=1, name="literal") == 0
    clip = read_checkpoint(str(miniature)).clip
    ids = clip.tokenizer.clip_l.tokenizer(CAPTION)["input_ids"]
    rows = [[(token, 1.0) for token in (ids + [ids[-1]] * 77)[:77]]]
    literal = clip.encode_from_tokens({"l": rows}).float()
    assert is_cached(tmp_path, literal)
    weighed = clip.encode_from_tokens(clip.tokenize(CAPTION)).float()
    assert not torch.allclose(weighed, literal)


def test_weights_may_be_asked_for(arguments, pictures, miniature, tmp_path):
    from t2i_adapter_pack.cli.encode import read_checkpoint
    from t2i_adapter_pack.cli.main import main

    (pictures / "000.txt").write_text(CAPTION)
    assert main(["train", *arguments(steps=1, name="weights"), "--prompt-weights"]) == 0
    clip = read_checkpoint(str(miniature)).clip
    assert is_cached(tmp_path, clip.encode_from_tokens(clip.tokenize(CAPTION)))


@pytest.mark.slow
def test_another_reading_of_captions_is_another_data_set_only_where_it_matters(command, arguments, pictures, tmp_path):
    """So a run from before this change resumes if its captions mean the same either way."""
    from t2i_adapter_pack.cli.main import main

    weights = "--prompt-weights"
    assert main(["train", *arguments(steps=1), weights]) == 0
    assert command(steps=2) == 0
    (pictures / "000.txt").write_text(CAPTION)
    assert main(["train", *arguments(steps=1, name="other"), weights]) == 0
    assert command(steps=2, name="other") == 1
    assert main(["train", *arguments(steps=2, name="other"), weights]) == 0
    assert len(load_state(tmp_path / "runs" / "other")["losses"]) == 2
