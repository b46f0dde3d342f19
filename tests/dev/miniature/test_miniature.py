"""The miniature in the real ComfyUI with the pack's nodes: its pictures follow prompts and conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from t2i_adapter_miniature import generate, measure, prompts, scenes

pytestmark = pytest.mark.host
WEIGHTS = Path(generate.__file__).parent / "weights"
COUNT = 16
MEGABYTES = 20


@pytest.fixture(scope="module")
def studio(comfyui) -> Any:
    """The miniature, loaded by ComfyUI's own nodes."""
    torch.set_num_threads(1)  # too small for more: waiting for each other takes longer than the work
    return generate.Studio(str(comfyui.path), WEIGHTS)


@pytest.fixture(scope="module")
def asked() -> scenes.Scenes:
    """Held-out scenes."""
    return measure.held_out(COUNT)


@pytest.fixture(scope="module")
def without(studio, asked) -> torch.Tensor:
    """The pictures from prompts alone."""
    return studio.generate(asked)


def drawn(studio: Any, asked: scenes.Scenes, kind: str, **values: Any) -> torch.Tensor:
    """Make the pictures with Load T2I-Adapter and Apply T2I-Adapter."""
    from t2i_adapter_pack.nodes.apply import ApplyT2IAdapter
    from t2i_adapter_pack.nodes.load import LoadT2IAdapter

    adapter = LoadT2IAdapter.execute(generate.adapter_file(kind))[0]
    bare = studio.model
    studio.model = ApplyT2IAdapter.execute(bare, adapter, generate.exact_hint(kind, asked))[0]
    try:
        return studio.generate(asked, **values)
    finally:
        studio.model = bare


def test_the_files_are_small():
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= MEGABYTES * 2**20


def test_a_scene_depends_on_its_seed_only():
    apart = torch.cat([measure.truth(measure.held_out(1, number)) for number in range(4)])
    assert torch.equal(measure.truth(measure.held_out(4)), apart)


def test_the_true_scene_scores_high_and_another_low(asked):
    truth, others = measure.truth(asked), measure.truth(measure.held_out(COUNT, 500))
    for score in (measure.silhouette_iou, measure.shape_iou, measure.colours_present, measure.binding):
        assert score(truth, asked).mean() > 0.95
        assert score(others, asked).mean() < 0.7
    assert measure.palette_l1(truth, asked).max() == 0
    assert measure.palette_l1(others, asked).mean() > 0.1


def test_prompts_get_comfyuis_tokens(studio, asked):
    rows = prompts.word_rows(asked)
    ids = torch.tensor(prompts.TOKEN_IDS)[prompts.tokens(rows)]
    for text, wanted in zip(prompts.texts(rows), ids, strict=True):
        got = [token for token, _ in studio.clip.tokenize(text)["l"][0]]
        assert got == wanted.tolist(), text


def test_pictures_follow_the_sketch_and_without_it_they_do_not(studio, asked, without):
    followed = drawn(studio, asked, "sketch")
    assert measure.silhouette_iou(without, asked).mean() < 0.3
    assert measure.silhouette_iou(followed, asked).mean() > 0.6
    assert measure.shape_iou(followed, asked).mean() > 0.6


def test_a_prompt_gives_its_colours(asked, without):
    assert measure.colours_present(without, asked).mean() > 0.9


def test_colours_come_from_the_palette_where_the_prompt_names_none(studio, asked):
    followed = drawn(studio, asked, "color", colour_words=False)
    assert measure.palette_l1(followed, asked).mean() < 0.05


def test_core_s_controlnet_route_gives_the_same_pictures(studio, asked):
    few = asked.pick(slice(4))
    ours = drawn(studio, few, "seg")
    theirs = studio.generate(few, "seg")
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)
