"""Captions are literal: tokenized as plain text with weight 1, and no embedding file is opened."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.host
CAPTIONS = (
    r"(16:9) (one piece) embedding:x a\(b",
    "a cat",
    "",
    r"((very)) [old] {cat|dog} \\( \) \ ) (",
    "embedding:x,y (embedding:x:1.4) embedding:embedding:x",
    "a\nembedding:x\tembedding:x Embedding:x preembedding:x embedding: x",
    "smile :( embedding:) it's (it's:0)",
    "(日本語:1.5) Ünïcödé",
)


@pytest.fixture(params=["SD1.x", "SD2.x", "SDXL"])
def tokenizer(request, comfyui, tmp_path, monkeypatch):
    """A tokenizer that has an embedding ``x``, and fails the test if its file is looked for."""
    import comfy.sd1_clip
    import comfy.sdxl_clip
    import comfy.text_encoders.sd2_clip

    torch.save({"string_to_param": {"*": torch.ones(1, 768)}}, tmp_path / "x.pt")
    kinds = {
        "SD1.x": comfy.sd1_clip.SD1Tokenizer,
        "SD2.x": comfy.text_encoders.sd2_clip.SD2Tokenizer,
        "SDXL": comfy.sdxl_clip.SDXLTokenizer,
    }
    made = kinds[request.param](embedding_directory=str(tmp_path))
    monkeypatch.setattr(comfy.sd1_clip, "load_embed", lambda name, *_: pytest.fail(f"looked for {name}"))
    return made


@pytest.mark.parametrize("caption", CAPTIONS)
def test_captions_become_the_tokens_of_their_characters(tokenizer, caption):
    from t2i_adapter_pack.nodes import host

    parts = [
        value for name, value in vars(tokenizer).items() if name.startswith("clip_") and not isinstance(value, str)
    ]
    assert parts
    for part in parts:
        expected = part.tokenizer(caption)["input_ids"]
        for rows in tokenizer.tokenize_with_weights(host.literal_prompt(caption)).values():
            assert len(rows) == 1
            assert [token for token, _ in rows[0]][: len(expected)] == expected
            assert {weight for _, weight in rows[0]} == {1.0}


def test_long_captions_are_cut_where_plain_text_is(tokenizer):
    """The text of an embedding's name is a word like any other, and does not begin a new row."""
    from t2i_adapter_pack.nodes import host

    words = ("word " * 70).strip()
    caption = f"{words} embedding:x and (three) more words here {words}"
    for name, rows in tokenizer.tokenize_with_weights(host.literal_prompt(caption)).items():
        expected = getattr(tokenizer, f"clip_{name}").tokenizer(caption)["input_ids"][1:-1]
        got = [token for row in rows for token, _ in row[1:76]]
        assert got[: len(expected)] == expected
        assert len(rows) == 3


@pytest.mark.parametrize("mark", ["<|endoftext|>", "<|startoftext|>", "<|EndOfText|>"])
def test_marks_of_the_tokenizer_are_text_too(tokenizer, mark):
    """Else the pooled prompt of SDXL would be taken in the middle of the caption."""
    from t2i_adapter_pack.nodes import host

    for rows in tokenizer.tokenize_with_weights(host.literal_prompt(f"a {mark} cat")).values():
        inside = [token for token, _ in rows[0]][1:9]
        assert not {49406, 49407} & set(inside[:5])


def test_characters_that_escape_parentheses_inside_the_tokenizer_make_none(tokenizer):
    from t2i_adapter_pack.nodes import host

    assert tokenizer.tokenize_with_weights(host.literal_prompt("a\0\1\0\2b")) == tokenizer.tokenize_with_weights(
        "a\1\2b"
    )
