"""What SDXL is told of a picture, and which of its captions is drawn, in each batch."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from t2i_adapter_pack.adapter_models.hint import fit_to
from t2i_adapter_pack.training.framing import framing_of
from t2i_adapter_pack.training.in_memory_dataset import Draw
from t2i_adapter_pack.training.samples import list_folder

from . import datasets


@pytest.mark.parametrize("size", [(128, 128), (100, 300), (301, 101), (64, 256), (2000, 90), (130, 131)])
@pytest.mark.parametrize("bucket", [(128, 128), (64, 256)])
def test_the_corner_is_that_of_the_crop(size, bucket):
    """Each pixel holds its own row and column in the resized picture."""
    framing = framing_of(size, bucket)
    assert (framing.original, framing.target) == (size, bucket)
    scale = max(new / old for new, old in zip(bucket, size, strict=True))
    rows, columns = (scale * (torch.arange(side) + 0.5) - 0.5 for side in size)
    picture = torch.stack([rows[:, None].expand(size), columns.expand(size)])[None]
    middle = fit_to(picture, bucket, "crop")[0, :, bucket[0] // 2, bucket[1] // 2]
    expected = torch.tensor([corner + side // 2 for corner, side in zip(framing.corner, bucket, strict=True)])
    # Large reductions first cut away what the crop can't reach, to whole pixels.
    assert (middle - expected).abs().max() < 2


def size_rows(framing: Any) -> dict[str, torch.Tensor]:
    return {"y": torch.tensor([[*framing.original, *framing.corner, *framing.target]], dtype=torch.float32)}


def prompt(caption: str, latents: torch.Tensor) -> dict[str, torch.Tensor]:
    pooled = [float(len(caption))]
    told = [float(side * 8) for side in latents.shape[-2:]]
    return {"context": torch.full((1, 5, 3), pooled[0]), "y": torch.tensor([[*pooled, *told, 0, 0, *told]])}


HOW = {"prompt": prompt, "size_rows": size_rows}
SIZES = [[128, 128, 0, 0, 128, 128], [100, 300, 10, 0, 64, 256], [140, 140, 0, 0, 128, 128], [256, 64, 0, 0, 256, 64]]


def test_each_picture_s_sizes_are_told_with_its_prompt_and_with_the_empty_one(tmp_path):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(4)))
    data = datasets.cached(listing, tmp_path / "c", datasets.recipe(**HOW))
    for dropout, pooled in ((0.0, len("picture 0")), (1.0, 0)):
        told = {tuple(row) for number in range(8) for row in batch_of(data, number, prompt_dropout=dropout)}
        assert told == {(pooled, *row) for row in SIZES}


def batch_of(data: Any, number: int, **changes: Any) -> list[list[float]]:
    return data.batch(Draw(2, **changes), number).prompts["y"].tolist()


CAPTIONS = ["a", "bb", "a caption with many words"]


def lengths(data: Any, numbers: range, **changes: Any) -> list[float]:
    return [
        float(row) for number in numbers for row in data.batch(Draw(2, **changes), number).prompts["context"][:, 0, 0]
    ]


def test_one_of_several_captions_is_drawn_for_each_use_by_the_seed_alone(tmp_path):
    files = {"x.png": datasets.png(), "x.json": json.dumps({"caption": CAPTIONS}).encode()}
    files |= {"y.png": datasets.png(seed=1), "y.txt": b"one caption"}
    listing = list_folder(datasets.folder(tmp_path / "f", files))
    assert [one.prompts() for one in listing.samples] == [tuple(CAPTIONS), ("one caption",)]
    data = datasets.cached(listing, tmp_path / "c")
    drawn = lengths(data, range(60))
    assert {drawn.count(len(one)) for one in ("one caption",)} == {60}
    assert all(10 < drawn.count(len(one)) < 30 for one in CAPTIONS)
    # Resumed at any step, and with another number of processes.
    assert lengths(data, range(31, 60)) == drawn[62:]
    assert lengths(data, range(60), seed=1) != drawn
    shares = [lengths(data, range(60), process=process, processes=2) for process in range(2)]
    assert [both for pair in zip(*shares, strict=True) for both in pair] == drawn


def test_one_caption_gives_the_batches_that_it_gave_before_lists(tmp_path):
    files = {**datasets.members(3), "x.png": datasets.png(seed=9)}
    one = list_folder(datasets.folder(tmp_path / "f", {**files, "x.txt": b"abc"}))
    listed = list_folder(datasets.folder(tmp_path / "g", {**files, "x.json": b'{"caption": ["abc"]}'}))
    first, second = datasets.cached(one, tmp_path / "a"), datasets.cached(listed, tmp_path / "b")
    assert first.fingerprint() == second.fingerprint()
    assert lengths(first, range(9)) == lengths(second, range(9))


@pytest.mark.parametrize("captions", [[], ["a", 3], [["a"]]])
def test_lists_with_other_things_than_texts_are_told(tmp_path, captions):
    files = {"x.png": b"", "x.json": json.dumps({"caption": captions}).encode()}
    with pytest.raises(ValueError, match=r"x\.json has a caption that is not text"):
        list_folder(datasets.folder(tmp_path, files)).samples[0].prompts()
